// A variable of the file goes, with the code that used it; the others of the file are not mistaken for it.
//@ changed: f
//@ placeholders: kept
//@ run: f(1) = 7
//@ refers: f -> klp kept
#include "kernel.h"

static int kept = 5;
#ifndef PATCHED
static int gone = 5;
#endif

int f(int x)
{
#ifdef PATCHED
	return x + kept + 1;
#else
	gone += x;
	return x + gone + kept;
#endif
}

int g(int x)
{
	return kept += x;
}
