// A short jump at the beginning of a long function does not reach behind its end.
//@ refuse: KPB0404 g
#include "kernel.h"

static __section(".sched.text") __attribute__((noipa, used)) int f(int x)
{
	return 7;
}

__section(".sched.text") int g(int x)
{
	asm goto("test %0, %0\n je f" : : "r" (x) : "cc" : never);
	asm volatile(".skip 200, 0x90");
#ifdef PATCHED
	return x + 100;
#else
	return x + 10;
#endif
never:
	return 0;
}
