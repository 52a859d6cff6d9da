// A function's own constants are part of it, whatever number gcc gives them.
//@ changed: e f
//@ placeholders:
//@ run: f(1) = 21
//@ run: e(1) = 2
#include "kernel.h"

int e(int x)
{
#ifdef PATCHED
	static const int table[4] = { 1, 2, 3, 5 };

	return table[x & 3];
#else
	return x;
#endif
}

int f(int x)
{
#ifdef PATCHED
	static const int table[4] = { 11, 21, 31, 41 };
#else
	static const int table[4] = { 10, 20, 30, 40 };
#endif
	return table[x & 3];
}

int g(int x)
{
	static const int table[4] = { 100, 200, 300, 400 };

	return table[x & 3];
}
