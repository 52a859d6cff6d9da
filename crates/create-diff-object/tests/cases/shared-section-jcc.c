// A conditional jump to another function, short and near; what it goes to gets one jump behind the
// function, however many lead there.
//@ changed: g
//@ placeholders: f
//@ run: g(0) = 7
//@ run: g(1) = 7
//@ run: g(2) = 102
#include "kernel.h"

static __section(".sched.text") __attribute__((noipa, used)) int f(int x)
{
	return 7;
}

__section(".sched.text") int g(int x)
{
	asm goto("test %0, %0\n je f\n cmp $1, %0\n je f" : : "r" (x) : "cc" : never);
#ifdef PATCHED
	return x + 100;
#else
	return x + 10;
#endif
never:
	return 0;
}
