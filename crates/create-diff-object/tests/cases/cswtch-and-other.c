// The one function that only a table changes is not lost beside the other.
//@ changed: f g
//@ run: f(3) = 99
//@ run: g(3) = 6
#include "kernel.h"

#ifdef PATCHED
#define THREE 99
#define ADDED 3
#else
#define THREE 55
#define ADDED 2
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

int g(int x)
{
	return x + ADDED;
}
