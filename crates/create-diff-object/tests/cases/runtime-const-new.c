// Boot code knows nothing of a new variable.
//@ refuse: KPB0405 f
#include "kernel.h"

#ifdef PATCHED
unsigned long limit = 7;
#else
extern unsigned long limit;
#endif

int f(unsigned long x)
{
#ifdef PATCHED
	return x > runtime_const_ptr(limit);
#else
	return x >= runtime_const_ptr(limit);
#endif
}
