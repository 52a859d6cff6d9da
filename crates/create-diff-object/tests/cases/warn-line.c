// Lines of warnings moved; that alone is no change.
//@ same
#include "kernel.h"
#ifdef PATCHED


#endif

int f(int x)
{
	if (x == 3)
		WARN();
	return x + 1;
}
