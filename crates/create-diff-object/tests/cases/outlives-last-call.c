// Nobody returns to the end of a function; the address behind it says nothing about the function.
//@ changed: f g
//@ new: forever worker
//@ outlives: f -> forever
//@ exported: outside
#include "kernel.h"

#ifdef PATCHED
static __attribute__((noreturn)) noinline void forever(int x)
{
	for (;;)
		x = outside(x);
}

static noinline int worker(int x)
{
	if (x == 7)
		forever(x);
	return outside(x);
}
#endif

void f(int x)
{
#ifdef PATCHED
	outside(x);
	forever(x);
#else
	outside(x);
	outside(x);
#endif
}

void g(int x)
{
#ifdef PATCHED
	x += worker(x);
#endif
	outside(x);
	outside(x + 1);
}
