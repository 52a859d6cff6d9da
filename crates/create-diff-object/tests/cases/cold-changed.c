// The hot part stays as it is, byte for byte.
//@ changed: f
//@ gcc-refers: f -> f.cold
//@ exported: outside
//@ run: f(1) = 1001
//@ run: f(-1) = 2011
#include "kernel.h"

void __attribute__((cold, noipa)) complain(int x)
{
}

int f(int x)
{
	if (x < 0) {
		complain(x);
#ifdef PATCHED
		x = outside(11);
#else
		x = outside(10);
#endif
		complain(x + 1);
	}
	return outside(x);
}
