// A replacement with a call, one of no bytes, and their neighbours' ones.
//@ changed: f
//@ exported: outside
//@ placeholders: helper
//@ holds: .altinstructions 28
//@ holds: .altinstr_replacement 5
//@ refers: .altinstr_replacement -> klp helper
//@ refers: .altinstructions -> f
#include "kernel.h"

__attribute__((noipa)) void helper(void)
{
}

int e(int x)
{
	asm volatile(ALTERNATIVE("nop", "stac", 100));
	asm volatile(ALTERNATIVE("stac", "", 101));
	return outside(x);
}

int f(int x)
{
	asm volatile(ALTERNATIVE("nop", "call helper", 100) : "+r" (x) : : "memory");
	asm volatile(ALTERNATIVE("clac", "", 101));
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}

int g(int x)
{
	asm volatile(ALTERNATIVE("nop", "lfence", 102));
	return outside(x);
}
