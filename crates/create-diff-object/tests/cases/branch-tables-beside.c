// Another function's table, right behind, is no part of the function's own.
//@ changed: e
//@ holds: .rodata 24
#include "kernel.h"

/* Branches as compilers do: the labels lie in the function. */
#define SWITCH(x)							\
	asm volatile("1: lea 2f(,%q0,8), %%rax\n jmp *(%%rax)\n"	\
		     "3: nop\n"						\
		     "4: nop\n nop\n"					\
		     ".pushsection .rodata, \"a\"\n"			\
		     ".balign 8\n"					\
		     "2: .quad 3b\n .quad 4b\n .quad 3b\n"		\
		     ".popsection\n" : : "r" (x) : "rax")

int e(int x)
{
	SWITCH(x);
#ifdef PATCHED
	asm volatile("nop");
#endif
	return x;
}

int f(int x)
{
	SWITCH(x);
	return x;
}

__section(".init.text") int g(int x)
{
	SWITCH(x);
	return x;
}
