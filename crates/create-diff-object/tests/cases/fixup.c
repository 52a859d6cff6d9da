// Kernels before 5.17 put what follows a fault out of line, in one section for all functions. Kernels before
// 5.16 have a handler as third pointer of an exception table's entry.
//@ changed: f
//@ holds: __ex_table 12
//@ holds: .fixup 10
//@ refers: __ex_table -> f
//@ refers: __ex_table -> klp handler
//@ refers: .fixup -> f
#include "kernel.h"

int handler(void);

#define LOAD(result, from)						\
	asm volatile("1: mov (%1), %0\n2:\n"				\
		     ".pushsection .fixup, \"ax\"\n"			\
		     "3: mov $-14, %0\n jmp 2b\n"			\
		     ".popsection\n"					\
		     ".pushsection __ex_table, \"a\"\n"		\
		     ".balign 4\n"					\
		     ".long 1b - ., 3b - ., handler - .\n"		\
		     ".popsection\n"					\
		     : "=a" (result) : "r" (from))

int e(int *p)
{
	int x;
	LOAD(x, p);
	return x;
}

int f(int *p)
{
	int x;
	LOAD(x, p);
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}

int g(int *p)
{
	int x;
	LOAD(x, p);
	return x;
}
