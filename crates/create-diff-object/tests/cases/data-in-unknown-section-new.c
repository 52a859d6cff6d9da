//@ refuse: KPB0410 limit
#include "kernel.h"

#ifdef PATCHED
static __section("my_limits") int limit = 4;
#else
#define limit x
#endif

int f(int x)
{
	return x += limit++;
}
