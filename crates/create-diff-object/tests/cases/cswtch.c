// The body stays, byte for byte; only the table that gcc made of the switch differs.
//@ changed: f
//@ placeholders:
//@ run: f(3) = 99
//@ run: f(4) = 8
#include "kernel.h"

#ifdef PATCHED
#define THREE 99
#else
#define THREE 55
#endif

int f(int i)
{
	switch (i) {
	case 0: return 17;
	case 1: return 4;
	case 2: return 39;
	case 3: return THREE;
	case 4: return 8;
	case 5: return 71;
	default: return -1;
	}
}

int g(int i)
{
	switch (i) {
	case 0: return 7;
	case 1: return 40;
	case 2: return 3;
	case 3: return 51;
	case 4: return 81;
	case 5: return 1;
	default: return -1;
	}
}
