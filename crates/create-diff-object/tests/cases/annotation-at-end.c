// BUG() ends the function: the annotation's address is that of the next one in the section.
//@ changed: e
//@ holds: .discard.reachable 4
//@ refers: .discard.reachable -> e
#include "kernel.h"

#define BUG()								\
	do {								\
		asm volatile("ud2\n"					\
			     "3: .pushsection .discard.reachable\n"	\
			     ".long 3b - .\n"				\
			     ".popsection");				\
		__builtin_unreachable();				\
	} while (0)

__section(".sched.text") __attribute__((noipa, aligned(1))) int e(int x)
{
#ifdef PATCHED
	if (x != 4)
		return 2;
#else
	if (x != 4)
		return 1;
#endif
	BUG();
}

__section(".sched.text") __attribute__((noipa, aligned(1))) int f(int x)
{
	if (x != 4)
		return 1;
	BUG();
}
