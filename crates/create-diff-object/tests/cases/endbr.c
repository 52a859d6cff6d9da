//@ changed: f
//@ lacks: .discard.noendbr
//@ only: padded plain
#include "kernel.h"

int f(int x)
{
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}
