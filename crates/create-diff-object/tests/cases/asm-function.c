// Code that only assembly defines is nothing that ftrace could redirect.
//@ refuse: KPB0403 trampoline
// It has no lines that explanations could name.
//@ flags: -g0
#include "kernel.h"

#ifdef PATCHED
#define VALUE "$2"
#else
#define VALUE "$1"
#endif

asm(".pushsection .text\n"
    ".globl trampoline\n"
    ".type trampoline, @function\n"
    "trampoline: movl " VALUE ", %eax\n"
    "ret\n"
    ".size trampoline, . - trampoline\n"
    ".popsection");

int f(int x)
{
	return x;
}
