// As _THIS_IP_: an address inside the function is one of the new function.
//@ changed: f
// clang gives 1 for a label that nothing jumps to.
//@ gcc-refers: f -> f
//@ placeholders: note
#include "kernel.h"

noinline void note(void *ip)
{
	asm volatile("");
}

int f(int x)
{
#ifdef PATCHED
	x++;
#endif
	{
		__label__ here;
here:
		note(&&here);
	}
	return x;
}
