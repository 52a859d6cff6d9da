// Variables of one section that lie elsewhere now.
//@ changed: f
//@ placeholders: last
//@ run: f(1) = 8
#include "kernel.h"

#ifdef PATCHED
__attribute__((used)) static int unused __read_mostly = 3;
#endif
static int first __read_mostly = 5;
static int last __read_mostly = 6;

int e(int x)
{
	return first = last = x;
}

int f(int x)
{
#ifdef PATCHED
	return x + last + 1;
#else
	return x + last;
#endif
}
