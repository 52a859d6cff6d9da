// A way out of a fault that lies elsewhere, as kernels before 5.16 have them.
//@ changed: f g
//@ outlives: f -> f
//@ exported: outside
#include "kernel.h"

int f(int x)
{
#ifdef PATCHED
	asm volatile("1: mov (%1), %0\n"
		     "2:\n"
		     ".pushsection .fixup, \"ax\"\n"
		     "3: mov $-14, %0\n"
		     "   jmp 2b\n"
		     ".popsection\n"
		     EXTABLE(1b, 3b) : "=r" (x) : "r" ((long)x));
#endif
	return outside(x) + 1;
}

int g(int x)
{
#ifdef PATCHED
	asm volatile("1: mov (%1), %0\n"
		     "2:\n"
		     EXTABLE(1b, 2b) : "=r" (x) : "r" ((long)x));
#endif
	return outside(x) + 2;
}
