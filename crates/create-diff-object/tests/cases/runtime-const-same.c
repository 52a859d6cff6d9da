// Such constants alone are no difference.
//@ same
#include "kernel.h"

unsigned long limit = 7;

int f(unsigned long x)
{
	return x >= runtime_const_ptr(limit);
}
