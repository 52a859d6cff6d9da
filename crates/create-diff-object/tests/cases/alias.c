//@ changed: f
//@ run: f(1) = 3
#include "kernel.h"

__attribute__((noipa)) int f(int x)
{
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}
int also(int x) __attribute__((alias("f")));

int g(int x)
{
	return also(x);
}
