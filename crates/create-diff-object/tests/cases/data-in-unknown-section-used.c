//@ changed: f
//@ placeholders: limit
//@ run: f(1) = 6
#include "kernel.h"

static __section("my_limits") int first = 9;
static __section("my_limits") int limit = 4;

int e(int x)
{
	return limit = first = x;
}

int f(int x)
{
#ifdef PATCHED
	return x + limit + 1;
#else
	return x + limit;
#endif
}
