// The hot part is the same; the reason is shown in the part that the compiler split off.
//@ changed: f
//@ explains: f: constant: `mov $0xa,%edi` became `mov $0xb,%edi`
//@ gcc-explains: f: original: f.cold
//@ exported: outside
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
