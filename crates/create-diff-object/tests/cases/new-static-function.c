//@ changed: f
//@ new: added
//@ refers: f -> added
//@ refers: added -> klp state
//@ placeholders: state
//@ gcc-holds: __mcount_loc 16
//@ run: f(2) = 6
#include "kernel.h"

static int state = 3;

#ifdef PATCHED
static noinline int added(int x)
{
	return x * state;
}
#endif

int f(int x)
{
#ifdef PATCHED
	return added(x);
#else
	return x + state;
#endif
}

int g(void)
{
	return state++;
}
