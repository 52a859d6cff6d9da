// An author's NOP counts: hardware may want it.
//@ changed: f
//@ exported: outside
#include "kernel.h"

int f(int x)
{
	x = outside(x);
#ifdef PATCHED
	asm volatile("nop");
#endif
	return outside(x) + 1;
}
