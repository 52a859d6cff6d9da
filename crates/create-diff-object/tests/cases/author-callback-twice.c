// The kernel has room for one callback of a kind.
//@ refuse: KPB0414 first
#include "kernel.h"

#ifdef PATCHED
#include <kpatch-macros.h>

static int first(patch_object *object)
{
	return outside(1);
}
KPATCH_PRE_PATCH_CALLBACK(first);

static int second(patch_object *object)
{
	return outside(2);
}
KPATCH_PRE_PATCH_CALLBACK(second);
#endif
