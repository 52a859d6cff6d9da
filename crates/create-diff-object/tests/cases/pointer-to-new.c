// Nothing else than the new function itself can be meant.
//@ changed: g
//@ new: f
//@ refers: g -> f
//@ refers: ops -> f
//@ placeholders:
//@ run: g(1) = 21
#include "kernel.h"

#ifdef PATCHED
static __attribute__((noipa)) int f(int x)
{
	return x + 20;
}
static struct { int (*call)(int); } ops = { f };
#endif

int g(int x)
{
#ifdef PATCHED
	int (*call)(int) = f;

	asm("" : "+r" (call), "+m" (ops));
	return x == 1 ? call(x) : ops.call(x);
#else
	return x;
#endif
}
