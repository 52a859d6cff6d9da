// A callback that the kernel has already: the patch takes a copy along, which replaces nothing.
//@ new-globals: other
//@ new: other
//@ holds: .kpatch.callbacks 24
#include "kernel.h"
#include <kpatch-macros.h>

int old(patch_object *object)
{
	return outside(1);
}

#ifdef PATCHED
int other(int x)
{
	return outside(x);
}
KPATCH_PRE_PATCH_CALLBACK(old);
#endif
