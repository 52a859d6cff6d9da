// Code that must not be traced from now on: the old one still has its ftrace entry, but redirecting is
// what such code must be spared.
//@ refuse: KPB0403 f
#include "kernel.h"

#ifdef PATCHED
__section(".noinstr.text") notrace
#endif
int f(int x)
{
	return outside(x) + 1;
}
