// .constprop parts of the same code get other numbers when one more comes before them.
//@ changed: a
//@ new: first.constprop
//@ clang-changed: a
//@ clang-new: first
//@ exported: outside
#include "kernel.h"

static __attribute__((__noinline__)) int first(int x, int y)
{
	return outside(x) + outside(y) * 5 + y;
}

static __attribute__((__noinline__)) int second(int x, int y)
{
	return outside(x) + outside(y) * 7 + y;
}

int a(int x)
{
#ifdef PATCHED
	return first(x, 3) + first(x + 1, 3);
#else
	return x;
#endif
}

int b(int x)
{
	return second(x, 4) + second(x + 1, 4);
}
