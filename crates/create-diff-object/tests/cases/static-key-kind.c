// Likely became unlikely: the low bits of the key's address.
//@ changed: f
#include "kernel.h"

struct static_key key;

int f(int x)
{
#ifdef PATCHED
	return static_branch(&key, 1) ? x + 9 : x + 2;
#else
	return static_branch(&key, 0) ? x + 9 : x + 2;
#endif
}
