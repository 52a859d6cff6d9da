//@ refuse: KPB0407 f
#include "kernel.h"

__attribute__((weak)) int f(int x)
{
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}
