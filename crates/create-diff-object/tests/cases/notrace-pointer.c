// Pointers to it may be anywhere by now: in data, in code, or from now on.
//@ refuse: KPB0403 in_data
//@ refuse: KPB0403 in_code
//@ refuse: KPB0403 from_now_on
#include "kernel.h"

#ifdef PATCHED
#define FACTOR 4
#else
#define FACTOR 3
#endif

static notrace noinline int in_data(int x)
{
	return x * FACTOR + 1;
}

static notrace noinline int in_code(int x)
{
	return x * FACTOR + 2;
}

static notrace noinline int from_now_on(int x)
{
	return x * FACTOR + 3;
}

int (*pointer)(int) = in_data;

int g(int x)
{
	return in_data(x) + in_code(x) + from_now_on(x);
}

int h(int x)
{
	int (*local)(int) = in_code;

	asm("" : "+r" (local));
	return local(x);
}

int k(int x)
{
#ifdef PATCHED
	int (*local)(int) = from_now_on;

	asm("" : "+r" (local));
	return local(x);
#else
	return x;
#endif
}
