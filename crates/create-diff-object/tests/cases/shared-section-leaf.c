// Without such jumps it can be cut out; the ones that jump to it find the new one through ftrace.
//@ changed: f
//@ gcc-holds: __mcount_loc 8
//@ run: f(2) = 8
#include "kernel.h"

__section(".sched.text") __attribute__((noipa)) int e(int x)
{
	return x * 5;
}

__section(".sched.text") __attribute__((noipa)) int f(int x)
{
#ifdef PATCHED
	return x * 4;
#else
	return x * 3;
#endif
}

__section(".sched.text") int g(int x)
{
	return f(x) + 1;
}
