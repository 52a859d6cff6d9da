// The asm statement alone names a variable of another file.
//@ changed: f
//@ refers: f -> klp limit
//@ placeholders: limit
#include "kernel.h"

extern unsigned long limit;

int f(unsigned long x)
{
#ifdef PATCHED
	return x > runtime_const_ptr(limit);
#else
	return x >= runtime_const_ptr(limit);
#endif
}
