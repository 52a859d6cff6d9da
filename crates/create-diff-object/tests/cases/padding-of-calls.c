// Another number of NOPs before functions is no change of them.
//@ same
//@ only: padded
//@ patched-flags: -fpatchable-function-entry=8,8
#include "kernel.h"

static struct { int (*call)(int); } ops;

int f(int x)
{
	return outside(x) + 1;
}

int g(int x)
{
	ops.call = f;
	return f(x) + 1;
}
