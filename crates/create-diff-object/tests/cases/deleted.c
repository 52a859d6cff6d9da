// Nobody calls it any more; the old one stays where it is.
//@ changed: f
//@ placeholders:
#include "kernel.h"

#ifndef PATCHED
static noinline int gone(int x)
{
	return x * 3;
}
#else
#define gone(x) x * 5
#endif

int f(int x)
{
	return gone(x);
}
