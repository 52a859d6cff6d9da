// A static function that nothing calls changes nothing.
//@ same
#include "kernel.h"

#ifdef PATCHED
static __attribute__((used, noipa)) int added(int x)
{
	return x * 3;
}
#endif

int f(int x)
{
	return x + 1;
}
