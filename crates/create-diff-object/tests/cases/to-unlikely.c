// Another section, the same code.
//@ same
#include "kernel.h"

#ifdef PATCHED
__attribute__((cold))
#endif
int f(int x)
{
	return x + 1;
}
