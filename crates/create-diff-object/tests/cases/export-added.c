// What is exported anew is not in the table that the loader searches; nothing of the kernel's own changes.
//@ same
#include "kernel.h"

int f(int x)
{
	return x + 1;
}
#ifdef PATCHED
EXPORT_SYMBOL(f);
#endif
