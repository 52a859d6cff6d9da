// After objtool there is a list of static calls. Those of vmlinux' keys are set up with the patch.
//@ changed: f
//@ holds: .static_call_sites 8
//@ refers: .static_call_sites -> f
//@ refers: .static_call_sites -> klp __SCK__hook
#include "kernel.h"

extern char __SCK__hook;
int __SCT__hook(int x);

/* As objtool lists the calls of trampolines. */
#define SITE(name)							\
	asm volatile("1: .byte 0x0f, 0x1f, 0x00\n"			\
		     ".pushsection .static_call_sites, \"aw\"\n"	\
		     ".long 1b - .\n"					\
		     ".long __SCK__" #name " - .\n"			\
		     ".popsection")

int e(int x)
{
	SITE(hook);
	return x;
}

int f(int x)
{
	SITE(hook);
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}
