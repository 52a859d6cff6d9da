// The other way round: what was inlined has become a function.
//@ changed: f
//@ new: helper
//@ explains: f: callee inlined: `helper` is called now, not inlined
#include "kernel.h"

#ifdef PATCHED
#define HOW noinline
#else
#define HOW inline __attribute__((always_inline))
#endif

static HOW int helper(int x)
{
	return outside(x * 3) + 7;
}

int f(int x)
{
	return helper(x + 1) * 5;
}
