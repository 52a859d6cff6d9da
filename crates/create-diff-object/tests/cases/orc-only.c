// Unwinding data follows from the code. By itself it is no change.
//@ same
#include "kernel.h"

#ifdef PATCHED
#define TEXT "BBBBBB"
#else
#define TEXT "AAAAAA"
#endif

asm(".pushsection .orc_unwind_ip, \"a\"\n .long f - .\n .popsection\n"
    ".pushsection .orc_unwind, \"a\"\n .ascii \"" TEXT "\"\n .popsection\n");

int f(int x)
{
	return x + 1;
}
