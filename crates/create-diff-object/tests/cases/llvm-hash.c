// Names of promoted locals as LLVM and rustc give them: the number is a hash of the unit's content.
//@ same
#include "kernel.h"

#ifdef PATCHED
#define NAME(name) __asm__(name ".llvm.8212637489216389121")
#else
#define NAME(name) __asm__(name ".llvm.1337190874651238971")
#endif

int work(int x) NAME("work");
noinline int work(int x)
{
	return outside(x) + 2;
}

int state NAME("state") = 4;

int f(int x)
{
	return work(x) + state;
}
