// The names that gcc gives when another clone comes before: nothing else.
//@ same
#include "kernel.h"

#ifdef PATCHED
#define NAME(name) __asm__(name ".isra.7")
#else
#define NAME(name) __asm__(name ".isra.3")
#endif

static noinline int work(int x) NAME("work");
static noinline int work(int x)
{
	return outside(x) + 2;
}

int f(int x)
{
	return work(x) + 1;
}
