// Has no effect, and leaves nothing behind.
//@ warns: KPATCH_FORCE_UNSAFE(f) has no effect
//@ changed: f
//@ lacks: .kpatch.force
#include "kernel.h"

int f(int x)
{
#ifdef PATCHED
	x++;
#endif
	return outside(x);
}

#ifdef PATCHED
#include <kpatch-macros.h>
KPATCH_FORCE_UNSAFE(f);
#endif
