// Whoever gets a pointer to a function of the kernel may keep it longer than the patch lives.
//@ changed: f g h
//@ refers: g -> klp f
//@ refers-not: g -> f
//@ refers: ops -> klp f
//@ refers-not: ops -> f
//@ refers: h -> f
//@ refers-not: h -> klp f
//@ run: h(1) = 22
//@ run: g(1) = 11
#include "kernel.h"

__attribute__((noipa)) int f(int x)
{
#ifdef PATCHED
	return x + 20;
#else
	return x + 10;
#endif
}

#ifdef PATCHED
static struct { int (*call)(int); } ops = { f };
#endif

int g(int x)
{
	int (*call)(int) = f;

#ifdef PATCHED
	asm("" : "+r" (call), "+m" (ops));
	return x == 1 ? call(x) : ops.call(x);
#else
	asm("" : "+r" (call));
	return call(x);
#endif
}

int h(int x)
{
#ifdef PATCHED
	return f(x) + 1;
#else
	return f(x);
#endif
}
