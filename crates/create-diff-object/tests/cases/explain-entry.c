// The code is the same; what differs is shown at the place that the entry is for.
//@ changed: f
//@ explains: f: special section: another entry in `__bug_table`
//@ explains: f: explain-entry.c:
#include "kernel.h"

int f(int x)
{
	if (x == 3)
#ifdef PATCHED
		WARN_AT(7, 11);
#else
		WARN_AT(7, 9);
#endif
	return x + 1;
}
