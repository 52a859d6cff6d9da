//@ refuse: KPB0406 f
#include "kernel.h"

int f(int x)
{
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}
asm(".pushsection my_list, \"a\"; .quad f; .popsection");
