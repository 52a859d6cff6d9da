// A new cold part in the file's common section moves the others.
//@ changed: e
//@ exported: outside
#include "kernel.h"

void __attribute__((cold)) complain(int x);

int e(int x)
{
#ifdef PATCHED
	if (x < 0) {
		complain(x);
		x = outside(0);
		complain(x + 1);
	}
#endif
	return outside(x);
}

int f(int x)
{
	if (x < 0) {
		complain(x);
		x = outside(10);
		complain(x + 1);
	}
	return outside(x);
}
