// objtool may make the call of __fentry__ a NOP; what is left is the entry of __mcount_loc.
//@ changed: f
//@ flags: -mnop-mcount
//@ only: padded plain switch
//@ holds: __mcount_loc 8
#include "kernel.h"

int f(int x)
{
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}
