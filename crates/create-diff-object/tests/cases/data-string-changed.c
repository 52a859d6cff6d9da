// What a table points at is part of it.
//@ refuse: KPB0402 names
#include "kernel.h"

#ifdef PATCHED
static const char *names[] = { "one", "two!" };
#else
static const char *names[] = { "one", "two" };
#endif

const char *f(int x)
{
	return names[x];
}
