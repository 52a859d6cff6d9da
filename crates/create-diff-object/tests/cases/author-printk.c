// A message in the middle of a function leaves no cold part.
//@ changed: f
//@ lacks: .text.unlikely
#include "kernel.h"
#include <kpatch-macros.h>

int f(int x)
{
#ifdef PATCHED
	if (x)
		KPATCH_PRINTK("patched: %d\n", x);
#endif
	return outside(x);
}
