// A shift has no form that reads the variable.
//@ refuse: KPB0405 f
#include "kernel.h"

unsigned int bits = 7;

int f(unsigned int x)
{
#ifdef PATCHED
	return runtime_const_shift_right_32(x, bits) + 1;
#else
	return runtime_const_shift_right_32(x, bits);
#endif
}
