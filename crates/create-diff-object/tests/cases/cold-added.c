//@ changed: f
//@ gcc-refers: f -> f.cold
//@ gcc-refers: f.cold -> f
//@ exported: outside
//@ run: f(1) = 1002
//@ run: f(-1) = 2000
#include "kernel.h"

void __attribute__((cold, noipa)) complain(int x)
{
}

int f(int x)
{
#ifdef PATCHED
	if (x < 0) {
		complain(x);
		x = outside(0);
		complain(x + 1);
	}
#endif
	return outside(x) + (x == 1);
}
