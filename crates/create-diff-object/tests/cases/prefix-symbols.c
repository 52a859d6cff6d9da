// After objtool call padding has a name. It is no function, and its size and name go along.
//@ changed: f
//@ only: padded
#include "kernel.h"

#define PREFIX(name)							\
	asm(".globl __pfx_" #name "\n"					\
	    ".type __pfx_" #name ", @function\n"			\
	    ".set __pfx_" #name ", " #name " - 16\n"			\
	    ".size __pfx_" #name ", 16\n")

PREFIX(e);
int e(int x)
{
	return x;
}

PREFIX(f);
int f(int x)
{
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}
