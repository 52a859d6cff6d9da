// Copied from nameless .rodata.
//@ changed: f
//@ placeholders: sum
//@ run: f(0) = 122
#include "kernel.h"

struct big { int a[24]; };

noinline int sum(struct big *b)
{
	int i, s = 0;

	for (i = 0; i < 24; i++)
		s += b->a[i];
	return s;
}

int f(void)
{
#ifdef PATCHED
	struct big b = { { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, [20] = 17 } };
#else
	struct big b = { { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, [20] = 16 } };
#endif
	return sum(&b);
}

int g(void)
{
	struct big b = { { 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, [20] = 16 } };

	return sum(&b);
}
