// Jumps of two bytes have no room for a relocation.
//@ changed: g
//@ placeholders: f h
//@ refers: g -> klp f
//@ refers: g -> klp h
//@ run: g(2) = 6
//@ run: g(12) = 24
//@ run: g(-2) = -10
#include "kernel.h"

static __section(".sched.text") __attribute__((noipa)) int f(int x)
{
	return x * 3;
}

static __section(".sched.text") __attribute__((noipa)) int h(int x)
{
	return x * 5;
}

__section(".sched.text") int g(int x)
{
	if (x < 0)
		return h(x);
#ifdef PATCHED
	if (x > 10)
		return x * 2;
#endif
	return f(x);
}
