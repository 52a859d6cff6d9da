// Who only reads does so from writable memory as well.
//@ changed: f
//@ placeholders: value
#include "kernel.h"

#ifdef PATCHED
const
#endif
__attribute__((used)) int value[2] = { 1, 2 };

int f(int x)
{
#ifdef PATCHED
	return value[x & 1];
#else
	return value[x];
#endif
}
