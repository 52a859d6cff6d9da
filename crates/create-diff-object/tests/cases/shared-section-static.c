// Their local functions move when another grows.
//@ changed: e
//@ run: e(2) = 30
#include "kernel.h"

__section(".sched.text") __attribute__((noipa)) int e(int x)
{
#ifdef PATCHED
	x *= 3;
	asm volatile("nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop");
#endif
	return x * 5;
}

static __section(".sched.text") __attribute__((noipa)) int f(int x)
{
	return x * 3;
}

__section(".sched.text") int g(int x)
{
	return f(x) + 1;
}
