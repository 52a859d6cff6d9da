// objtool is told of functions in the table that do not begin as indirect targets do.
//@ changed: f
//@ holds: .discard.noendbr 4
//@ only: switch
#include "kernel.h"

int f(int x)
{
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}
