// Reached otherwise, and other memory.
//@ refuse: KPB0409 value
#include "kernel.h"

#ifdef PATCHED
__section(".data..percpu")
#endif
int value = 1;

int f(void)
{
	return value;
}
