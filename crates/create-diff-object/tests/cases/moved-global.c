// Only where it is in the file, and what gcc calls its sections, changed.
//@ same
#include "kernel.h"

#ifdef PATCHED
static int second = 2;
int first;
#else
int first;
static int second = 2;
#endif

#ifdef PATCHED
int g(int x)
{
	return second += x;
}
#endif

int f(int x)
{
	return first += x;
}

#ifndef PATCHED
int g(int x)
{
	return second += x;
}
#endif
