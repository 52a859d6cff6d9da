// What a check of UBSAN is described by holds the line of the check. Without a change of the check itself
// the line says nothing, in code that the patch does not take as in code that it does.
//@ changed: f
//@ flags: -fsanitize=shift
//@ only: padded plain switch
#include "kernel.h"

void __ubsan_handle_shift_out_of_bounds(void *data, unsigned long a, unsigned long b)
{
}

int f(int x)
{
#ifdef PATCHED
	x++;
	x++;
#endif
	return x;
}

int g(int x, int y)
{
	return x << y;
}
