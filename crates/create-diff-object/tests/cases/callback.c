// A callback's address is taken in the original already; who calls it does not matter.
//@ changed: set
//@ refers: set -> klp callback
//@ placeholders: callback slot
#include "kernel.h"

static int (*slot)(int);

static int callback(int x)
{
	return x + 1;
}

int call(int x)
{
	return slot(x);
}

void set(int x)
{
#ifdef PATCHED
	if (x)
#endif
	slot = callback;
}
