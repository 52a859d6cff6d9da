// No call, but a trap that the kernel survives: the task may be off the processor when it does. In `g`
// it does not survive.
//@ changed: f g
//@ outlives: f -> f.cold
//@ refers: g -> g.cold
#include "kernel.h"

#define COLD(name, code)						\
	"js " name ".cold\n1:\n"					\
	".pushsection .text.unlikely." name ", \"ax\"\n"		\
	".type " name ".cold, @function\n"				\
	name ".cold: " code "\n"					\
	".size " name ".cold, . - " name ".cold\n"			\
	".popsection"

int f(int x)
{
#ifdef PATCHED
	asm volatile("test %0, %0\n" COLD("f", "ud2; jmp 1b") : "+r" (x) : : "cc");
#endif
	return x + 1;
}

int g(int x)
{
#ifdef PATCHED
	asm volatile("test %0, %0\n" COLD("g", "ud2") : "+r" (x) : : "cc");
#endif
	return x + 1;
}
