// What the author registers runs while the kernel holds the module, and is no address handed out. A
// function that a callback hands to the kernel is.
//@ changed: f
//@ new: fire pre_patch
//@ outlives: pre_patch -> fire
//@ exported: outside take
//@ holds: .kpatch.callbacks 24
#include "kernel.h"

int take(int (*what)(int));

int f(int x)
{
#ifdef PATCHED
	x++;
#endif
	return outside(x) + 1;
}

#ifdef PATCHED
#include <kpatch-macros.h>

static noinline int fire(int x)
{
	return x + 2;
}

static int pre_patch(patch_object *object)
{
	return take(fire) + 1;
}
KPATCH_PRE_PATCH_CALLBACK(pre_patch);
#endif
