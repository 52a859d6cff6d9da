// gcc folds index arithmetic into addresses before and behind an array.
//@ changed: f
//@ placeholders: values
//@ refers: f -> fresh
//@ run: f(1) = 14
//@ run: f(2) = 26
#include "kernel.h"

static int values[3] = { 1, 2, 3 };
#ifdef PATCHED
static int fresh[3] = { 10, 20, 30 };
#else
#define fresh values
#endif

int e(int x, int y)
{
	return values[x] = y;
}

int f(long x)
{
	int sum = 0, *p;

	asm("" : "+r" (x));
	for (p = fresh; p < fresh + 3; p++)
		asm volatile("" : : "r" (p));
	fresh[0] += 0 * x;
	sum += fresh[x - 1] + values[x + 1 - 1 + 7 - 7 - 1] + (p == fresh + 3);
#ifdef PATCHED
	sum += 2;
	if (x == 2)
		sum += 1;
#endif
	return sum;
}
