// Nothing but an ignored change is no change.
//@ same
#include "kernel.h"

int ignored(int x)
{
#ifdef PATCHED
	x++;
#endif
	return outside(x);
}

#ifdef PATCHED
#include <kpatch-macros.h>
KPATCH_IGNORE_FUNCTION(ignored);
#endif
