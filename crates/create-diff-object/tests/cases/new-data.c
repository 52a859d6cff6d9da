//@ changed: f
//@ placeholders: old g
//@ refers: f -> counter
//@ refers: f -> limits
//@ refers: f -> ops
//@ refers: ops -> klp g
//@ refers: ops -> klp old
//@ refers-not: ops -> g
//@ run: f(1) = 42
//@ run: f(1) = 43
#include "kernel.h"

static int old = 40;

int set(int x)
{
	return old = x;
}

noinline int g(int x)
{
	return x;
}

#ifdef PATCHED
static int counter;
static int limits[3] = { 1, 2, 3 };
struct ops { int (*g)(int); int *old; int (*later)(int); };
static struct ops ops = { g, &old, g };
#endif

int f(int x)
{
#ifdef PATCHED
	struct ops *o = &ops;

	asm("" : "+r" (o));
	counter += limits[x & 1];
	limits[x & 1]--;
	limits[1] = 1;
	return *o->old + o->g(x) + counter - 1;
#else
	return old + x;
#endif
}
