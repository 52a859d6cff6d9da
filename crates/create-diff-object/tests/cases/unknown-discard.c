// Annotations that this tool does not know may change what objtool makes of the function.
//@ refuse: KPB0406 f
#include "kernel.h"

int f(int x)
{
	asm volatile("1: nop\n"
		     ".pushsection .discard.of_the_future\n .long 1b - .\n .popsection");
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}
