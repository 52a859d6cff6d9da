//@ changed: f
//@ holds: __bug_table 12
//@ holds: .discard.reachable 4
//@ text: warn.c
//@ refers: __bug_table -> f
#include "kernel.h"

int e(int x)
{
	if (x == 3)
		WARN();
	return x + 3;
}

int f(int x)
{
	if (x == 3)
		WARN();
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}

int g(int x)
{
	if (x == 3)
		WARN();
	return x * 3;
}
