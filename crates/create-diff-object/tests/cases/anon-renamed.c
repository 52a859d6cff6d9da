// rustc calls nameless constants by a hash of their content, and so their sections.
//@ changed: f
//@ placeholders:
//@ run: f(1) = 21
#include "kernel.h"

#ifdef PATCHED
#define ANON(words) ".rodata..Lanon.8f14e45fceea167a.1"
#define OTHER ".rodata..Lanon.c9f0f895fb98ab91.2"
#else
#define ANON(words) ".rodata..Lanon.45c48cce2e2d7fbd.4"
#define OTHER ".rodata..Lanon.c4ca4238a0b92382.7"
#endif

asm(".pushsection " ANON() ", \"a\"\n"
    ".Lanon_same: .long 3, 5, 7\n"
    ".popsection\n"
    ".pushsection " OTHER ", \"a\"\n"
#ifdef PATCHED
    ".Lanon_other: .long 11, 21, 31\n"
#else
    ".Lanon_other: .long 11, 20, 31\n"
#endif
    ".popsection");

static __attribute__((always_inline)) inline const int *same(void)
{
	const int *p;

	asm("movq $.Lanon_same, %0" : "=r" (p));
	return p;
}

static __attribute__((always_inline)) inline const int *other(void)
{
	const int *p;

	asm("movq $.Lanon_other, %0" : "=r" (p));
	return p;
}

int f(int x)
{
	return other()[x];
}

int g(int x)
{
	return same()[x];
}
