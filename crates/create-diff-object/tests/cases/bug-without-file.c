// Without CONFIG_DEBUG_BUGVERBOSE an entry has no file and line.
//@ changed: f
//@ holds: __bug_table 8
//@ refers: __bug_table -> f
#include "kernel.h"

#define BUG(...)							\
	asm volatile("1: .byte 0x0f, 0x1f, 0x00\n"			\
		     ".pushsection __bug_table, \"aw\"\n"		\
		     "2: .long 1b - .\n"				\
		     "   .word 9\n"					\
		     "   .org 2b + 8\n"				\
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
