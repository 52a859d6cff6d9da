// The jump has no relocation in the object that the compiler made.
//@ changed: f g
//@ new: added other
//@ outlives: f -> added
//@ refers: f -> added
//@ refers: g -> other
#include "kernel.h"

#define __sched __section(".sched.text")

#ifdef PATCHED
static __sched noinline int added(int x)
{
	return x * 3;
}

static __sched noinline int other(int x)
{
	return x * 5;
}
#endif

__sched int f(int x)
{
#ifdef PATCHED
	return added(x);
#else
	return x;
#endif
}

__sched int g(int x)
{
#ifdef PATCHED
	x += other(x);
#endif
	return x;
}
