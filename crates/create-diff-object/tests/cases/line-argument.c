// Lines handed to functions moved, by the debug information, and nothing else.
//@ same
#include "kernel.h"

int report(const char *what, int line, int more);
int tell(int more, int a, int b, int c, int d, int line);
#ifdef PATCHED
#line 300
#endif

int f(int x)
{
	if (x)
		return report("file", __LINE__, 3);
	return outside(__LINE__) + tell(1, 2, 3, 4, 5, __LINE__);
}

#define REPORT(what, more) report(what, __LINE__, more)

int g(int x)
{
	return REPORT(__func__,
		      x);
}
