// Two labels change places: with a jump table only that table differs.
//@ changed: f
//@ placeholders: outside
//@ exported:
//@ run: f(0) = 1010
//@ run: f(4) = 1033
//@ run: f(5) = 1072
//@ run: f(9) = 0
#include "kernel.h"

int f(int i)
{
	switch (i) {
	case 0: return outside(10);
	case 1: return outside(1) * 2;
	case 2: return outside(i) - 7;
	case 3: return outside(i * i) + 1;
#ifdef PATCHED
	case 5: return outside(72);
	case 4: return outside(33);
#else
	case 4: return outside(72);
	case 5: return outside(33);
#endif
	case 6: return outside(3) | 0x100;
	case 7: return outside(5) ^ 0x33;
	default: return 0;
	}
}

int g(int i)
{
	switch (i) {
	case 0: return outside(11);
	case 1: return outside(1) * 3;
	case 2: return outside(i) - 8;
	case 3: return outside(i * i) + 2;
	case 4: return outside(73);
	case 5: return outside(34);
	default: return 0;
	}
}
