// Callbacks go into the patch with what they need, and a table for the core names them. A patch may
// consist of nothing else.
//@ new: post_unpatch pre_patch
//@ holds: .kpatch.callbacks 48
//@ lacks: .kpatch.callbacks.pre_patch .kpatch.callbacks.post_unpatch
//@ refers: pre_patch -> klp state
#include "kernel.h"

static int state;

int get(void)
{
	return state;
}

void set(int x)
{
	state = x;
}

#ifdef PATCHED
#include <kpatch-macros.h>

static int pre_patch(patch_object *object)
{
	state = object != 0;
	return 0;
}
KPATCH_PRE_PATCH_CALLBACK(pre_patch);

static void post_unpatch(patch_object *object)
{
	outside(4);
}
KPATCH_POST_UNPATCH_CALLBACK(post_unpatch);
#endif
