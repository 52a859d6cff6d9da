// gcc numbers static locals through the file; a new one before shifts all numbers.
//@ changed: e f
//@ placeholders: count
//@ refers: f -> klp count
//@ refers: e -> count
//@ run: f(0) = 102
//@ run: f(0) = 104
//@ run: e(0) = 1
//@ run: e(0) = 2
#include "kernel.h"

int e(void)
{
#ifdef PATCHED
	static int count = 1;

	return count++;
#else
	return 1;
#endif
}

int f(void)
{
	static int count = 100;

#ifdef PATCHED
	return count += 2;
#else
	return ++count;
#endif
}

int g(void)
{
	static int count = 50;

	return ++count;
}

int h(void)
{
	static int count = 20;

	return ++count;
}
