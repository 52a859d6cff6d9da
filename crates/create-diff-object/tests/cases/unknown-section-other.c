// It says something about a function that stays as it is.
//@ changed: f
//@ lacks: my_list
#include "kernel.h"

int f(int x)
{
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}

int g(int x)
{
	return x + 7;
}
asm(".pushsection my_list, \"a\"; .quad g; .popsection");
