// 1,200 bytes copied by `rep movs` from nameless .rodata; the code stays, byte for byte.
//@ changed: f
//@ placeholders: sum
// clang clears it with a call and stores the rest.
//@ clang-placeholders: memset sum
//@ run: f(0) = 1005
#include "kernel.h"

struct big { int a[300]; };

noinline int sum(struct big *b)
{
	int i, s = 0;

	for (i = 0; i < 300; i++)
		s += b->a[i];
	return s;
}

int f(void)
{
#ifdef PATCHED
	struct big b = { { 1, 2, [250] = 1001, 1 } };
#else
	struct big b = { { 1, 2, [250] = 1000, 1 } };
#endif
	return sum(&b);
}

int g(void)
{
	struct big b = { { 1, 2, [250] = 999, 1 } };

	return sum(&b);
}
