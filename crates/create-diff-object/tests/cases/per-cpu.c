// An old per-CPU variable is the kernel's, a new one the module loader's.
//@ changed: f
//@ placeholders: old
//@ refers: f -> fresh
//@ holds: .data..percpu 8
#include "kernel.h"

static __section(".data..percpu") long first = 1, old = 2;
#ifdef PATCHED
static __section(".data..percpu") long fresh;
#else
#define fresh old
#endif

long e(void)
{
	long x;

	asm volatile("movq %%gs:%1, %0" : "=r" (x) : "m" (first));
	return x;
}

long f(void)
{
	long x;

	asm volatile("movq %%gs:%1, %0; incq %%gs:%2" : "=r" (x) : "m" (old), "m" (fresh));
	return x;
}
