// A table of labels, as the BPF interpreter has: it leads into the new function, not into the old one.
//@ changed: f
//@ refers-not: f -> klp f
//@ placeholders:
//@ run: f(0) = 10
//@ run: f(1) = 22
#include "kernel.h"

int f(int x)
{
	static const void *const table[] = { &&first, &&second };

#ifdef PATCHED
	if (x > 1)
		return x * 3;
	asm volatile("nop");
#endif
	goto *table[x];
first:
	return x + 10;
second:
#ifdef PATCHED
	return x + 21;
#else
	return x + 20;
#endif
}

int g(int x)
{
	static const void *const table[] = { &&first, &&second };

	goto *table[x];
first:
	return x + 30;
second:
	return x + 40;
}
