// A key that only the special section refers to, numbered by gcc.
//@ changed: e f
//@ placeholders: key
//@ refers: __jump_table -> klp key
//@ refers: __jump_table -> key
#include "kernel.h"

int e(int x)
{
#ifdef PATCHED
	static struct static_key key;

	return static_branch(&key, 0) ? x + 9 : x + 2;
#else
	return x + 2;
#endif
}

int f(int x)
{
	static struct static_key key;

#ifdef PATCHED
	return static_branch(&key, 0) ? x + 9 : x + 3;
#else
	return static_branch(&key, 0) ? x + 9 : x + 2;
#endif
}
