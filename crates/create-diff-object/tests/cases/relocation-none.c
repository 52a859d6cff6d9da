// objtool takes jumps of static branches out and leaves their relocations without effect: they refer to
// nothing any more.
//@ changed: f
//@ placeholders: cold
//@ refers-not: f -> g
#include "kernel.h"

void cold(void);

static noinline int g(int x)
{
	cold();
	return x;
}

int e(int x)
{
	return g(x);
}

int f(int x)
{
	asm volatile("1: .byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n"
		     ".reloc 1b + 1, R_X86_64_NONE, nowhere\n"
		     ".reloc 1b + 2, R_X86_64_NONE, g");
#ifdef PATCHED
	cold();
	return x + 2;
#else
	return x + 1;
#endif
}
