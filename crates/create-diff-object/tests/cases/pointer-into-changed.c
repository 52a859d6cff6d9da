// Data that is there already keeps the address of the old function; new data has it, too, also behind call
// padding and from a table of the file.
//@ changed: f g
//@ refers: more -> klp f
//@ refers-not: more -> f
//@ refers-not: g -> f
//@ run: g(1) = 12
//@ exported: outside
#include "kernel.h"

__attribute__((noipa)) int f(int x)
{
#ifdef PATCHED
	return outside(x) - 900;
#else
	return x + 10;
#endif
}

int (*ops[])(int) = { f, f };

#ifdef PATCHED
static int (*const more[])(int) = { f, outside, f };
#endif

int g(int x)
{
#ifdef PATCHED
	int (*const *all)(int) = more;

	asm("" : "+r" (all));
	return all[2](x) + (ops[0] == all[0]);
#else
	return ops[1](x);
#endif
}
