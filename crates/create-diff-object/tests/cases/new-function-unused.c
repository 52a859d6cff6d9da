// Nothing that changes needs it, so it does not go into the patch.
//@ changed: f
//@ placeholders:
#include "kernel.h"

#ifdef PATCHED
static __attribute__((used, noipa)) int added(int x)
{
	return x * 3;
}
#endif

int f(int x)
{
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}
