// Nor is code whose name has no type at all.
//@ refuse: KPB0403 trampoline
#include "kernel.h"

#ifdef PATCHED
#define VALUE "$2"
#else
#define VALUE "$1"
#endif

asm(".pushsection .text\n"
    ".globl trampoline\n"
    "trampoline: movl " VALUE ", %eax\n"
    "ret\n"
    ".popsection");

int f(int x)
{
	return x;
}
