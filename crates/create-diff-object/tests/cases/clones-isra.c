// .isra and .part clones of the same code, made in another order.
//@ changed: a
//@ exported: outside
#include "kernel.h"

struct pair { int a, b, c, d; };

static __attribute__((__noinline__)) int one(struct pair *p)
{
	return outside(p->b) + outside(3) * 5;
}

static int two(struct pair *p)
{
	if (__builtin_expect(!p->a, 1))
		return 0;
	return outside(p->b) + outside(4) * 6 + outside(5) * 7 + outside(p->c) * 8 + outside(p->d);
}

#ifdef PATCHED
int a(struct pair *p)
{
	return one(p) + two(p) + 1;
}
#endif

int b(struct pair *p)
{
	return two(p) + one(p);
}

int c(struct pair *p)
{
	return two(p) + 1;
}

#ifndef PATCHED
int a(struct pair *p)
{
	return one(p) + two(p);
}
#endif
