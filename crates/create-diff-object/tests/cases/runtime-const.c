// A pointer that boot code of vmlinux puts in: the patch reads the variable. Its entries stay behind.
//@ changed: f g
//@ placeholders: numbers outside table
//@ refers: f -> plain limit
//@ refers: g -> klp table
//@ exported: limit
//@ lacks: runtime_ptr_limit
//@ lacks: runtime_ptr_table
//@ run: f(7) = 0
//@ run: f(8) = 1
//@ run: g(2) = 1033
#include "kernel.h"

unsigned long limit = 7;
static int numbers[] = { 1, 2, 3, 4 };
static __attribute__((used)) int *table = numbers;

int f(unsigned long x)
{
#ifdef PATCHED
	return x > runtime_const_ptr(limit);
#else
	return x >= runtime_const_ptr(limit);
#endif
}

/* In one of the registers that need another prefix. */
int g(int x)
{
	register int *r9 asm("r9");

	r9 = runtime_const_ptr(table);
	asm volatile("" : "+r" (r9));
	table = numbers + 1;
#ifdef PATCHED
	return outside(r9[x] + 30);
#else
	return outside(r9[x] + 20);
#endif
}
