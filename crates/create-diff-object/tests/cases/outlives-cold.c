// A cold part of a changed function has nothing of that function below it; one of a new function that
// is called has. Where a cold part cannot be left again, tasks die. Of clang, no such parts.
//@ changed: f g h
//@ new: added
//@ gcc-outlives: f -> f.cold
//@ clang-outlives: none
//@ gcc-refers: g -> g.cold
//@ gcc-refers: added -> added.cold
//@ exported: complain outside panic
#include "kernel.h"

void __attribute__((cold)) complain(int x);
void __attribute__((cold, noreturn)) panic(const char *text, ...);

int f(int x)
{
#ifdef PATCHED
	if (x < 0) {
		complain(x);
		x = outside(0);
		complain(x + 1);
	}
#endif
	return outside(x) + (x == 1);
}

int g(int x)
{
#ifdef PATCHED
	if (x < 0)
		panic("%d is less than nothing", x);
	if (x > 1000)
		panic("%d is too much", x);
#endif
	return outside(x) + (x == 2);
}

#ifdef PATCHED
static noinline int added(int x)
{
	if (x < 0) {
		complain(x);
		x = outside(0);
		complain(x + 1);
	}
	return outside(x) + (x == 3);
}
#endif

int h(int x)
{
#ifdef PATCHED
	x += added(x);
#endif
	return x;
}
