// gcc and the linker let a string share the tail of another; a reference into the middle means the rest.
//@ changed: show
//@ placeholders: first_of
//@ run: show(0) = 116
//@ run: show(1) = 116
#include "kernel.h"

noinline int first_of(const char *s)
{
	return s[0];
}

int same(int x)
{
	return first_of("some tail" + 5);
}

int show(int x)
{
#ifdef PATCHED
	return first_of((x ? "one tail" : "two tail") + 4);
#else
	return first_of((x ? "one tail" : "two tail") + 3);
#endif
}
