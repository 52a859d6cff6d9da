// A call to an address without a symbol.
//@ changed: f
#include "kernel.h"

int f(int x)
{
#ifdef PATCHED
	((void (*)(void))0xffffffff81001000)();
#endif
	return x + 1;
}
