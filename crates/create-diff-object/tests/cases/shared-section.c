// Functions of one section: gcc's jump from one to the other has no relocation.
//@ refuse: KPB0404 g
#include "kernel.h"

static __section(".sched.text") __attribute__((noipa)) int f(int x)
{
	return x * 3;
}

__section(".sched.text") int g(int x)
{
#ifdef PATCHED
	return f(x) + 2;
#else
	return f(x) + 1;
#endif
}
