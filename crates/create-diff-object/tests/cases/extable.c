//@ changed: f
//@ holds: __ex_table 12
//@ holds: .smp_locks 4
//@ refers: __ex_table -> f
//@ refers: .smp_locks -> f
#include "kernel.h"

static __attribute__((always_inline)) inline int get(int *p)
{
	int x;

	asm volatile("1: movl (%1), %0\n2:\n" EXTABLE(1b, 2b) : "=r" (x) : "r" (p));
	asm volatile(LOCK_PREFIX "incl %0" : "+m" (*p));
	return x;
}

int e(int *x)
{
	return get(x) + 7;
}

int f(int *x)
{
#ifdef PATCHED
	return get(x) + 2;
#else
	return get(x) + 1;
#endif
}

int g(int *x)
{
	return get(x) + 9;
}
