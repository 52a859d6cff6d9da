// A constant that boot code of vmlinux puts in.
//@ refuse: KPB0405 f
#include "kernel.h"

unsigned long f(unsigned long x)
{
	unsigned long limit;

	asm("movabsq $0x0123456789abcdef, %0\n1:\n"
	    ".pushsection runtime_ptr_limit, \"a\"\n.long 1b - 8 - .\n.popsection" : "=r" (limit));
#ifdef PATCHED
	return x > limit;
#else
	return x >= limit;
#endif
}
