// Likewise, and the function is another now. Two of one name are told apart by their code.
//@ changed: work.llvm
//@ placeholders: state.llvm
//@ exported: outside
#include "kernel.h"

#ifdef PATCHED
#define NAME(name, number) __asm__(name ".llvm.8212637489216389121" number)
#else
#define NAME(name, number) __asm__(name ".llvm.1337190874651238971" number)
#endif

int state NAME("state", "") = 4;

int first(int x) NAME("work", "1");
noinline int first(int x)
{
	return outside(x) * 5 + outside(x + 1);
}

int second(int x) NAME("work", "2");
noinline int second(int x)
{
#ifdef PATCHED
	return outside(x) + state + 2;
#else
	return outside(x) + state;
#endif
}

int f(int x)
{
	return first(x) + second(x);
}
