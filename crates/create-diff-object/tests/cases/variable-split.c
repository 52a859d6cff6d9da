// Two users of one variable get one each: both have other code, though the bytes are the same.
//@ changed: f g
//@ placeholders:
//@ run: f(0) = 1
//@ run: g(0) = 1
#include "kernel.h"

#ifdef PATCHED
static int first, second;
#else
static int both;
#define first both
#define second both
#endif

int f(void)
{
	return ++first;
}

int g(void)
{
	return ++second;
}
