// trace_printk() leaves its format in a list that the module loader reads.
//@ changed: f
//@ holds: __trace_printk_fmt 8
//@ text: here %d
#include "kernel.h"

int __trace_bprintk(const char *format, ...);

int f(int x)
{
#ifdef PATCHED
	static const char *trace_printk_fmt __attribute__((used))
		__section("__trace_printk_fmt") = "here %d";
	__trace_bprintk(trace_printk_fmt, x);
	return x + 2;
#else
	return x + 1;
#endif
}
