// The code is the same; the entry names another key.
//@ changed: f
//@ placeholders: second
//@ refers: __jump_table -> klp second
#include "kernel.h"

struct static_key first, second;

#ifdef PATCHED
#define KEY second
#else
#define KEY first
#endif

int f(int x)
{
	return static_branch(&KEY, 0) ? x + 9 : x + 2;
}

int g(int x)
{
	return static_branch(&first, 0) ? x + 9 : x + 2;
}
