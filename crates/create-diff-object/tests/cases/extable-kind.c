// The handler's number.
//@ changed: f
#include "kernel.h"

int f(int *p)
{
	int x;

#ifdef PATCHED
	asm volatile("1: movl (%1), %0\n2:\n"
		     ".pushsection __ex_table, \"a\"\n.balign 4\n.long 1b - .\n.long 2b - .\n.long 4\n"
		     ".popsection\n" : "=r" (x) : "r" (p));
#else
	asm volatile("1: movl (%1), %0\n2:\n" EXTABLE(1b, 2b) : "=r" (x) : "r" (p));
#endif
	return x;
}
