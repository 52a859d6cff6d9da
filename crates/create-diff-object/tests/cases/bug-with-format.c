// Newer kernels have the format of a warning beside its file.
//@ changed: f
//@ holds: __bug_table 16
//@ text: format
#include "kernel.h"

#define BUG(...)							\
	asm volatile("1: .byte 0x0f, 0x1f, 0x00\n"			\
		     ".pushsection __bug_table, \"aw\"\n"		\
		     "2: .long 1b - .\n"				\
		     "   .long %c1 - .\n"				\
		     "   .long %c0 - .\n"				\
		     "   .word 7\n"					\
		     "   .word 9\n"					\
		     ".popsection" : : "i" ("file"), "i" ("format"))

int e(int x)
{
	BUG();
	return x;
}

int f(int x)
{
	BUG();
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}
