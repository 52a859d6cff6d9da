// Functions of one section: gcc's call from one to the other has no relocation.
//@ changed: g
//@ placeholders: f
//@ refers: g -> klp f
//@ run: g(2) = 8
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
