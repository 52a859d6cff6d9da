// A variable of another name is another variable.
//@ changed: f
//@ placeholders:
//@ refers: f -> after
#include "kernel.h"

#ifdef PATCHED
#define before after
#endif

static int before = 3;

int f(void)
{
	return ++before;
}
