// A number that is near its line, before and after, may be the author's.
//@ changed: f
//@ exported: report
#include "kernel.h"

int report(const char *what, int x, int number);
#ifdef PATCHED
#define NUMBER 303
#line 300
#else
#define NUMBER 203
#line 200
#endif
int f(int x)
{
	return report("f", x, NUMBER + 2);
}
