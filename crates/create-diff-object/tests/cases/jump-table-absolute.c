// Kernels before 4.20: three absolute pointers.
//@ changed: f
//@ holds: __jump_table 24
//@ refers: __jump_table -> f
//@ refers: __jump_table -> klp key
#include "kernel.h"

extern struct static_key key;

static __attribute__((always_inline)) inline _Bool branch(void)
{
	asm goto("1: .byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n"
		 ".pushsection __jump_table, \"aw\"\n"
		 ".balign 8\n"
		 ".quad 1b, %l[yes], %c0 + 1\n"
		 ".popsection\n"
		 : : "i" (&key) : : yes);
	return 0;
yes:
	return 1;
}

int e(int x)
{
	return branch() ? x : x + 1;
}

int f(int x)
{
#ifdef PATCHED
	return branch() ? x : x + 2;
#else
	return branch() ? x : x + 1;
#endif
}
