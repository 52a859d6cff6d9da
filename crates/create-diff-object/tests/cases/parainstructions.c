// Kernels before 6.8. `.balign` stands before each entry, so the last one is 12 bytes, all others 16.
//@ changed: f g
//@ holds: .parainstructions 28
//@ refers: .parainstructions -> f
//@ refers: .parainstructions -> g
#include "kernel.h"

#define PARAVIRT()							\
	asm volatile("771: .byte 0x0f, 0x1f, 0x00\n772:\n"		\
		     ".pushsection .parainstructions, \"a\"\n"	\
		     ".balign 8\n"					\
		     ".quad 771b\n"					\
		     ".byte 4\n"					\
		     ".byte 772b - 771b\n"				\
		     ".short 0\n"					\
		     ".popsection")

int e(int x)
{
	PARAVIRT();
	return x;
}

int f(int x)
{
	PARAVIRT();
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}

int g(int x)
{
	PARAVIRT();
#ifdef PATCHED
	return x + 4;
#else
	return x + 3;
#endif
}
