// A section that only the kernel's linker script knows: its variables are variables.
//@ refuse: KPB0402 limit
#include "kernel.h"

#ifdef PATCHED
__section("my_limits") int limit = 5;
#else
__section("my_limits") int limit = 4;
#endif

int f(int x)
{
	return x + limit;
}
