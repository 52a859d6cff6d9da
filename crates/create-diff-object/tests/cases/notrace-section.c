// Code that must not be interrupted, instrumented or moved is in sections of its own, and so may be its
// callers.
//@ refuse: KPB0403 in_noinstr
//@ refuse: KPB0403 from_noinstr
//@ refuse: KPB0403 from_init
#include "kernel.h"

#ifdef PATCHED
#define FACTOR 4
#else
#define FACTOR 3
#endif
#define noinstr notrace noinline __section(".noinstr.text")

static noinstr int in_noinstr(int x)
{
	return x * FACTOR + 1;
}

static notrace noinline int from_noinstr(int x)
{
	return x * FACTOR + 2;
}

static notrace noinline int from_init(int x)
{
	return x * FACTOR + 3;
}

static noinstr __attribute__((used)) int g(int x)
{
	return from_noinstr(x) + 1;
}

__init int h(int x)
{
	return from_init(x) + 1;
}

int k(int x)
{
	return in_noinstr(x) + from_noinstr(x) + from_init(x);
}
