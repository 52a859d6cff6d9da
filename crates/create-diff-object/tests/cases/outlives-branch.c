// A conditional jump is a jump.
//@ changed: f
//@ new: added
//@ new-globals: added
//@ outlives: f -> added
//@ run: f(2) = 1
//@ run: f(0) = 7
#include "kernel.h"

#ifdef PATCHED
__attribute__((noipa)) int added(void)
{
	return 7;
}
#endif

int f(int x)
{
#ifdef PATCHED
	asm volatile("test %%edi, %%edi; jz added" : : "D" (x) : "cc");
#endif
	return 1;
}
