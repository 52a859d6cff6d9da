// States are told to the build, nothing of the macro goes into the patch.
//@ changed: get
//@ lacks: .kpatch.states
#include "kernel.h"

#ifdef PATCHED
#define VALUE 1
#else
#define VALUE 2
#endif

int get(void)
{
	return outside(VALUE);
}

#ifdef PATCHED
#include <kpatch-macros.h>
KPATCH_STATE(5, 1);
KPATCH_STATE(4000000000, 7);
#endif
