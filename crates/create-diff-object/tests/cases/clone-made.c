// The function lost a parameter in gcc's eyes: its clone is new, and whoever called the function calls
// the clone now.
//@ changed: a b
//@ new: work.constprop
// clang makes no clone, it puts the constant into the function.
//@ clang-changed: a b work
//@ exported: outside
#include "kernel.h"

static __attribute__((__noinline__)) int work(int x, int y)
{
	return outside(x) + outside(y) * 5 + y;
}

int a(int x)
{
#ifdef PATCHED
	return work(x, 3);
#else
	return work(x, x);
#endif
}

int b(int x)
{
	return work(x + 1, 3);
}
