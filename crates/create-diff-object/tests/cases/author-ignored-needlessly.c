// Who ignores what does not differ may have misspelt a name; what is new cannot be ignored.
//@ changed: other
//@ new: helper
//@ warns: no change detected in function ignored
//@ warns: function helper is new
#include "kernel.h"

int ignored(int x)
{
	return outside(x);
}

#ifdef PATCHED
static noinline int helper(int x)
{
	return outside(x + 1);
}
#endif

int other(int x)
{
#ifdef PATCHED
	x = helper(x);
#endif
	return outside(x);
}

#ifdef PATCHED
#include <kpatch-macros.h>
KPATCH_IGNORE_FUNCTION(ignored);
KPATCH_IGNORE_FUNCTION(helper);
#endif
