// The assembler also resolves the address of a function of the same section. The pointer is to the
// kernel's function, changed or not.
//@ changed: f g
//@ placeholders: f
//@ refers: g -> klp f
//@ run: g(2) = 7
#include "kernel.h"

static __section(".sched.text") __attribute__((noipa, used)) int f(int x)
{
#ifdef PATCHED
	return x * 4;
#else
	return x * 3;
#endif
}

__section(".sched.text") int g(int x)
{
	int (*p)(int);

	asm("lea f(%%rip), %0" : "=r" (p));
#ifdef PATCHED
	return p(x) + 1;
#else
	return p(x) + 2;
#endif
}
