// The running kernel has it in write-protected memory.
//@ refuse: KPB0409 value
#include "kernel.h"

#ifndef PATCHED
const
#endif
int value[2] = { 1, 2 };

int f(int x)
{
	return value[x];
}
