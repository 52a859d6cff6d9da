//@ changed: f
//@ placeholders: key
//@ holds: __jump_table 16
//@ refers: __jump_table -> f
//@ refers: __jump_table -> klp key
//@ run: f(1) = 3
#include "kernel.h"

static struct static_key key = { 1 };

int e(int x)
{
	return static_branch(&key, 1) ? x + 5 : x;
}

int f(int x)
{
#ifdef PATCHED
	return static_branch(&key, 0) ? x + 9 : x + 2;
#else
	return static_branch(&key, 0) ? x + 8 : x + 1;
#endif
}
