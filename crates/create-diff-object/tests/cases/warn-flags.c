// Only an entry of a special section says what is new: WARN became WARN_ONCE, so to speak.
//@ changed: f
//@ holds: __bug_table 12
#include "kernel.h"

int f(int x)
{
	if (x == 3)
#ifdef PATCHED
		WARN_AT(7, 11);
#else
		WARN_AT(7, 9);
#endif
	return x + 1;
}
