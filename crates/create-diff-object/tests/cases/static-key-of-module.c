//@ refuse: KPB0411 f
//@ module: other key
#include "kernel.h"

extern struct static_key key;

int f(int x)
{
#ifdef PATCHED
	return static_branch(&key, 0) ? x + 9 : x + 2;
#else
	return x + 2;
#endif
}
