// The place of a pointer in another instruction, with another constant, or with too short a way back.
//@ refuse: KPB0405 f
//@ refuse: KPB0405 g
//@ refuse: KPB0405 h
#include "kernel.h"

unsigned long limit = 7;

#define POINTER(code, back)						\
	asm(code "\n1:\n"						\
	    ".pushsection runtime_ptr_limit, \"a\"\n"			\
	    ".long 1b - " #back " - .\n"				\
	    ".popsection" : "=a" (ret))
#ifdef PATCHED
#define ADDED 1
#else
#define ADDED 0
#endif

long f(void)
{
	long ret;

	POINTER("movabs 0x0123456789abcdef, %%rax", 8);
	return ret + ADDED;
}

long g(void)
{
	long ret;

	POINTER("movabs $0x0123456789abcdee, %%rax", 8);
	return ret + ADDED;
}

long h(void)
{
	long ret;

	POINTER("movabs $0x0123456789abcdef, %%rax", 4);
	return ret + ADDED;
}
