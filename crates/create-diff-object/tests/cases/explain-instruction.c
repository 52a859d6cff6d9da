//@ changed: f
//@ explains: f: instruction: `sub %esi,%edi` became `add %esi,%edi`
//@ exported: outside
#include "kernel.h"

int f(int x, int y)
{
#ifdef PATCHED
	return outside(x + y) + 1;
#else
	return outside(x - y) + 1;
#endif
}
