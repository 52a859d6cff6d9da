// A replacement runs in the place of the function's own code.
//@ changed: f g
//@ new: added other
//@ new-globals: added other
//@ outlives: f -> added
//@ holds: .altinstr_replacement 10
#include "kernel.h"

#ifdef PATCHED
__attribute__((noipa)) void added(void)
{
}

__attribute__((noipa)) void other(void)
{
}
#endif

int f(int x)
{
#ifdef PATCHED
	asm volatile(ALTERNATIVE("nop", "jmp added", 101));
#endif
	return x;
}

int g(int x)
{
#ifdef PATCHED
	asm volatile(ALTERNATIVE("nop", "call other", 101));
#endif
	return x;
}
