// Boot is over.
//@ refuse: KPB0401 boot
#include "kernel.h"

#ifdef PATCHED
static __init __attribute__((used)) int boot(void)
{
	return outside(3);
}
asm(".pushsection .initcall6.init, \"a\"; .long boot - .; .popsection");
#endif

int f(int x)
{
	return x + 1;
}
