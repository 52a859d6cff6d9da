// A constant that changed by as much as the lines moved is none of them: it is not at its line.
//@ changed: f g
//@ exported: outside report
#include "kernel.h"

int report(const char *what, int line, int more);
#ifdef PATCHED
#define MORE 110
#line 300
#else
#define MORE 10
#line 200
#endif
int f(int x)
{
	return report("file", __LINE__, MORE);
}

int g(int x)
{
	return outside(MORE) + report("file", __LINE__, 3);
}

int h(int x)
{
	return report("file", __LINE__, 3);
}
