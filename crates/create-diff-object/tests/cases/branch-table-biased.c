// An index that begins with 1: the reference is to before the table, into that of the function before.
// Which table is meant cannot be told, so both stay together, and the patch takes both functions.
//@ changed: e f
//@ holds: .rodata 48
//@ refers: .rodata -> f
#include "kernel.h"

#define SWITCH(before)						\
	asm volatile("1: lea 2f - " #before "(,%%rdi,8), %%rax\n jmp *(%%rax)\n"	\
		     "3: nop\n"						\
		     "4: nop\n nop\n"					\
		     ".pushsection .rodata, \"a\"\n"			\
		     ".balign 8\n"					\
		     "2: .quad 3b\n .quad 4b\n .quad 3b\n"		\
		     ".popsection\n" : : : "rax")

int e(int x)
{
	SWITCH(0);
	return x;
}

int f(int x)
{
	SWITCH(8);
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}
