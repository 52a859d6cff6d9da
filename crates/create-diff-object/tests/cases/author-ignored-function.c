// Neither the function nor its cold part counts as changed, and what is new in them stays out.
//@ changed: other
//@ no-text: out of line, too
//@ lacks: .kpatch.ignore.functions
#include "kernel.h"

void cold(const char *text) __attribute__((cold));

noinline int ignored(int x)
{
#ifdef PATCHED
	if (x > 5)
		cold("out of line, too");
#endif
	return outside(x);
}

int other(int x)
{
#ifdef PATCHED
	x++;
#endif
	return ignored(x);
}

#ifdef PATCHED
#include <kpatch-macros.h>
KPATCH_IGNORE_FUNCTION(ignored);
#endif
