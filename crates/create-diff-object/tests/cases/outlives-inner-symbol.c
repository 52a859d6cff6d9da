// The kernel looks from the start of a function to the next symbol.
//@ changed: f
//@ outlives: f -> f
//@ exported: outside
#include "kernel.h"

int f(int x)
{
#ifdef PATCHED
	x = outside(x);
	asm volatile(".type f_middle, @function\nf_middle: nop");
#endif
	return outside(x) + 1;
}
