// What a value is compared with, or what is added to it, is the author's number wherever it stands.
//@ changed: f g
//@ exported: outside
#include "kernel.h"
#ifdef PATCHED
#line 300
#else
#line 200
#endif
int f(int x)
{
	return x > __LINE__ ? outside(1) : outside(2);
}

int g(int x)
{
	return outside(x + __LINE__);
}
