// Two functions with static variables of one name are inlined into a third, whose code does not tell which is
// whose. The debug information does, also where the compiler inlines one no more.
//@ changed: both
//@ run: both(0) = 103
//@ run: both(0) = 207
#include "kernel.h"

static noinline int bump(int *count)
{
	return ++*count;
}

static inline __attribute__((__always_inline__)) int f(void)
{
	static int count;

	return bump(&count);
}

static inline __attribute__((__always_inline__)) int g(void)
{
	static int count;

	return bump(&count);
}

int both(int x)
{
#ifdef PATCHED
	int second = g() + g();

	return f() * 100 + second + x;
#else
	return f() * 100 + g() + x;
#endif
}
