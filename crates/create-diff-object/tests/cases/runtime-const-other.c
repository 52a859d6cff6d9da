// Another constant in the same place is another function.
//@ changed: f
//@ refers: f -> klp second
//@ placeholders: second
//@ run: f(1) = 0
#include "kernel.h"

unsigned long first = 1, second = 2;

int f(unsigned long x)
{
#ifdef PATCHED
	return x >= runtime_const_ptr(second);
#else
	return x >= runtime_const_ptr(first);
#endif
}
