// A name that is no function would ignore nothing.
//@ refuse: KPB0415 ignord
#include "kernel.h"
#include <linux/compiler.h>

int ignored(int x)
{
#ifdef PATCHED
	x++;
#endif
	return outside(x);
}

#ifdef PATCHED
const char *name __used __section(".kpatch.ignore.functions") = "ignord";
#endif
