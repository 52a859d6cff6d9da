// Older compilers put the branch tables of all functions side by side. The changed function takes its own,
// not that of code that is gone.
//@ changed: f
//@ holds: .rodata 24
//@ refers: .rodata -> f
//@ refers-not: .rodata -> klp e
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
	return x;
}

int f(int x)
{
	SWITCH(x);
#ifdef PATCHED
	x += 2;
#endif
	return x;
}

__section(".init.text") int g(int x)
{
	SWITCH(x);
	return x;
}
