// A copy of a function of the kernel that only serves as callback replaces nothing, and runs while the
// kernel holds the module; its cold part, too.
//@ new: unused
//@ new-globals: unused
//@ outlives: none
//@ exported: complain outside
//@ holds: .kpatch.callbacks 24
#include "kernel.h"
#include <kpatch-macros.h>

void __attribute__((cold)) complain(int x);

int old(patch_object *object)
{
	if (!object) {
		complain(1);
		outside(2);
		complain(3);
	}
	return outside(0);
}

#ifdef PATCHED
int unused(int x)
{
	return outside(x);
}
KPATCH_PRE_PATCH_CALLBACK(old);
#endif
