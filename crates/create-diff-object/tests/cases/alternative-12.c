// Kernels from 5.14 to 6.2. An alternative may have no replacement: its relocation leads to what comes
// next, which belongs to another function.
//@ changed: f
//@ holds: .altinstructions 24
//@ holds: .altinstr_replacement 2
#include "kernel.h"

#define OLD_ALTERNATIVE(old, new)					\
	asm volatile("661:\n" old "\n662:\n"				\
		     ".pushsection .altinstructions, \"a\"\n"		\
		     ".long 661b - .\n"					\
		     ".long 663f - .\n"					\
		     ".word 3\n"					\
		     ".byte 662b - 661b\n"				\
		     ".byte 664f - 663f\n"				\
		     \
		     ".popsection\n"					\
		     ".pushsection .altinstr_replacement, \"ax\"\n"	\
		     "663: " new "\n664:\n"				\
		     ".popsection\n")

int e(int x)
{
	OLD_ALTERNATIVE("nop; nop", "movb $5, %al");
	return x;
}

int f(int x)
{
	OLD_ALTERNATIVE("nop; nop", "movb $7, %al");
	OLD_ALTERNATIVE("nop; nop", "");
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}

int g(int x)
{
	OLD_ALTERNATIVE("nop; nop", "movb $9, %al");
	return x;
}
