// A string that the two share says nothing about the function.
//@ changed: f
#include "kernel.h"

const char *const words __section("my_words") = "shared";

const char *f(int x)
{
#ifdef PATCHED
	return x ? "shared" : "not shared";
#else
	return "shared";
#endif
}
