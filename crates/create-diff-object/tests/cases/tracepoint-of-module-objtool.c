// The same after objtool: the site is a NOP already, and stays one without an entry.
//@ changed: f
//@ module: m __tracepoint_hit trace_hit
//@ warns: tracepoint `hit` of module `m` stays off in the patched `f`
//@ lacks: __jump_table
//@ placeholders: trace_hit
#include "kernel.h"

extern struct static_key __tracepoint_hit;
void trace_hit(int x);

int f(int x)
{
	if (static_branch(&__tracepoint_hit, 0))
		trace_hit(x);
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}
