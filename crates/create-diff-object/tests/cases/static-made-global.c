// In the running kernel it is still static.
//@ changed: f g
//@ placeholders: h state
//@ refers: f -> klp state
//@ refers: f -> klp h
//@ run: f(1) = 18
#include "kernel.h"

#ifndef PATCHED
#define WAS_STATIC static
#define WAS_GLOBAL
#else
#define WAS_STATIC
#define WAS_GLOBAL static
#endif

WAS_STATIC __attribute__((used)) int state = 5;
WAS_STATIC __attribute__((noipa, used)) int h(int x)
{
	return x + 10;
}
WAS_GLOBAL __attribute__((noipa, used)) int g(int x)
{
#ifdef PATCHED
	return x + 1;
#else
	return x;
#endif
}

int f(int x)
{
#ifdef PATCHED
	return g(x) + state + h(x);
#else
	return g(x) + state;
#endif
}
