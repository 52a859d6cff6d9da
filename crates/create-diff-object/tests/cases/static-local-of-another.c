// `count` of the old function is not `count` of the new one, though each is the only one left.
//@ refuse: KPB0408 count
// To clang they are `old.count` and `f.count`.
//@ clang-changed: f
#include "kernel.h"

#ifndef PATCHED
int old(void)
{
	static int count = 5;

	return ++count;
}
#endif

int f(int x)
{
#ifdef PATCHED
	static int count = 5;

	return (count += 2) + x;
#else
	return x;
#endif
}
