// Only another file of the patch may need it; it must be there all the same.
//@ new-globals: added
#include "kernel.h"

#ifdef PATCHED
int added = 7;
#endif

int f(int x)
{
	return x + 1;
}
