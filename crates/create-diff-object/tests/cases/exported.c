// The export stays where it is.
//@ changed: f
//@ lacks: .export_symbol
#include "kernel.h"

int f(int x)
{
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}
EXPORT_SYMBOL(f);

int g(int x)
{
	return x * 9;
}
EXPORT_SYMBOL(g);
