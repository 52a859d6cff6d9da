// Literals without a name, constant or not, and one in a variable of the file.
//@ changed: f g
//@ placeholders: take
//@ run: f(1) = 32
//@ run: g(1) = 8
//@ run: g(0) = 7
#include "kernel.h"

struct pair { int a, b[10]; };

noinline int take(const struct pair *p, int x)
{
	asm volatile("" : : "r" (p) : "memory");
	return p->a + p->b[x];
}

#ifdef PATCHED
#define B 22
#define C 4
#else
#define B 21
#define C 3
#endif

int f(int x)
{
	return take(&(const struct pair){ 10, { 1, B, 3, 4, 5, 6, 7, 8, 9, 10 } }, x);
}

int g(int x)
{
	return take(&(struct pair){ C, { 3, 4, 5, 6, 7, 8, 9, 10, 11, x } }, x);
}

int h(int x)
{
	return take(&(const struct pair){ 10, { 1, 2, 3, 4, 5, 6, 7, 8, 9, 11 } }, x);
}
