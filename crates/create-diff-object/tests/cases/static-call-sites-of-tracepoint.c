// A tracepoint that is off is never called, so its call need not be set up.
//@ changed: f
//@ module: m __SCK__tp_func_hit
//@ warns: tracepoint `hit` of module `m` stays off in the patched `f`
//@ lacks: .static_call_sites
#include "kernel.h"

extern char __SCK__tp_func_hit;
int __SCT__tp_func_hit(int x);

/* As objtool lists the calls of trampolines. */
#define SITE(name)							\
	asm volatile("1: .byte 0x0f, 0x1f, 0x00\n"			\
		     ".pushsection .static_call_sites, \"aw\"\n"	\
		     ".long 1b - .\n"					\
		     ".long __SCK__" #name " - .\n"			\
		     ".popsection")

int e(int x)
{
	SITE(tp_func_hit);
	return x;
}

int f(int x)
{
	SITE(tp_func_hit);
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}
