// A jump to a place inside another function is only right while that function is as it was compiled.
//@ refuse: KPB0404 g
#include "kernel.h"

static __section(".sched.text") __attribute__((noipa, used)) int f(int x)
{
	asm volatile("inside_of_f: nop");
	return 7;
}

__section(".sched.text") int g(int x)
{
	asm goto("test %0, %0\n %{disp32%} je inside_of_f" : : "r" (x) : "cc" : never);
#ifdef PATCHED
	return x + 100;
#else
	return x + 10;
#endif
never:
	return 0;
}
