// A new function that nothing but a branch without relocation refers to, and a variable beside code.
//@ changed: g
//@ new: added
//@ refers: g -> added
//@ run: g(3) = 121
#include "kernel.h"

static __section(".sched.text") __attribute__((noipa, used)) int f(int x)
{
	return x * 3;
}

#ifdef PATCHED
static __section(".sched.text") __attribute__((noipa)) int added(int x)
{
	return f(x) + 112;
}
#else
#define added(x) x
#endif

__section(".sched.text") int g(int x)
{
	return added(x);
}
