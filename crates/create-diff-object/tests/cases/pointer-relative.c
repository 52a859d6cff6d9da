// An address that an instruction makes from its own is the old function's, too; a call is not.
//@ changed: f g
//@ refers: g -> klp f
//@ refers: g -> f
//@ placeholders: f
//@ run: g(1) = 32
#include "kernel.h"

__attribute__((noipa)) int f(int x)
{
#ifdef PATCHED
	return x + 20;
#else
	return x + 10;
#endif
}

int g(int x)
{
	int (*call)(int);

	asm volatile("leaq f(%%rip), %0" : "=r" (call));
#ifdef PATCHED
	return call(x) + f(x);
#else
	return call(x);
#endif
}
