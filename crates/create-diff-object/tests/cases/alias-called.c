// Called by its other name it is still the new one; its address is that of the old one by that name.
//@ changed: f g
//@ refers: g -> f
//@ gcc-refers: g -> klp also
//@ gcc-placeholders: also
// clang knows that both are one.
//@ clang-refers: g -> klp f
//@ clang-placeholders: f
//@ run: g(1) = 6
#include "kernel.h"

__attribute__((noipa)) int f(int x)
{
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}
int also(int x) __attribute__((alias("f")));

int g(int x)
{
#ifdef PATCHED
	int (*p)(int) = also;

	asm volatile("" : "+r" (p));
	return also(x) + p(x) + 1;
#else
	return also(x);
#endif
}
