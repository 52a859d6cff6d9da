//@ changed: show
//@ text: new words
//@ no-text: old words
//@ placeholders: puts_
//@ run: show(1) = 110
#include "kernel.h"

noinline int puts_(const char *s)
{
	return s[0];
}

int other(void)
{
	return puts_("kept words");
}

int show(int x)
{
#ifdef PATCHED
	return puts_("new words");
#else
	return puts_("old words");
#endif
}
