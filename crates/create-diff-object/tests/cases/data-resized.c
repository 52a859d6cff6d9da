//@ refuse: KPB0409 values
//@ only: padded
#include "kernel.h"

#ifdef PATCHED
int values[5];
#else
int values[4];
#endif

int f(int x)
{
	return values[x];
}
