// The reason is the function that is called, by name, with its line.
//@ changed: f
//@ explains: f: call target: it goes to `other`, not to `outside`
//@ explains: f: explain-call.c:21
//@ explains: f: explain-call.c:23
//@ gcc-explains: f: call   outside  #
//@ exported: outside other
//@ only: padded clang_padded
#include "kernel.h"

extern int other(int x);

int f(int x)
{
	/*
	 * What is in the comment has no code, and the lines below are
	 * counted with it.
	 */
#ifdef PATCHED
	return 1 +
		other(x);
#else
	return 1 + outside(x);
#endif
}
