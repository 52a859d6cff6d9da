// The kernel keeps what nothing refers to any more.
//@ changed: f
//@ placeholders:
//@ run: f(1) = 3
#include "kernel.h"

int f(int x)
{
#ifdef PATCHED
	return x + 2;
#else
	static int count;

	return x + ++count;
#endif
}
