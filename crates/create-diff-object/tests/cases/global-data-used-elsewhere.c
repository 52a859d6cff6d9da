// An old global variable and function by their names, exported or not.
//@ changed: f
//@ exported: outside shown
//@ placeholders: hidden
//@ refers: f -> plain shown
//@ refers: f -> plain outside
//@ refers: f -> klp hidden
#include "kernel.h"

int hidden, shown;

int f(int x)
{
#ifdef PATCHED
	shown++;
#endif
	hidden++;
	return outside(x);
}
