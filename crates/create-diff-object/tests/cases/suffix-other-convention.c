// The clone takes its argument elsewhere. Nobody may get there who calls the old function.
//@ changed: a b
//@ new: work.isra
//@ placeholders: outside
// clang drops the argument by itself, so that only the name is another.
//@ only: gcc
#include "kernel.h"

#ifdef PATCHED
static noinline int work(int y) asm("work.isra.0");
#define WORK(x, y) work(y)
#else
static noinline int work(int x, int y);
#define WORK(x, y) work(x, y)
#endif

int a(int x)
{
	return WORK(x, x + 1);
}

#ifdef PATCHED
static noinline int work(int y)
#else
static noinline int work(int x, int y)
#endif
{
	return outside(y) + 3;
}

int b(int x)
{
	return WORK(x, x + 2);
}
