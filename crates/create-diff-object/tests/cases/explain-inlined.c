// A function that shrank is inlined where it was called: its caller is not changed in the source.
//@ changed: f
//@ explains: f: callee inlined: `helper` is inlined now, not called
//@ flags: -fno-inline-small-functions -fno-inline-functions-called-once
//@ patched-flags: -DHELPER=inline
//@ only: padded plain
#include "kernel.h"

#ifdef PATCHED
#define HOW inline __attribute__((always_inline))
#else
#define HOW noinline
#endif

static HOW int helper(int x)
{
	return outside(x * 3) + 7;
}

int f(int x)
{
	return helper(x + 1) * 5;
}
