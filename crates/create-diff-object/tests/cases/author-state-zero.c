// The kernel's list of states ends at the id 0.
//@ refuse: KPB0415 .kpatch.states
#include "kernel.h"

int get(void)
{
	return 1;
}

#ifdef PATCHED
#include <kpatch-macros.h>
KPATCH_STATE(0, 1);
#endif
