//@ changed: f
//@ placeholders: counter helper
//@ refers: f -> klp counter
//@ refers: f -> klp helper
//@ refers: f -> plain __fentry__
//@ refers-not: f -> helper
//@ gcc-holds: __mcount_loc 8
//@ lacks: .text .data .bss __patchable_function_entries
//@ run: f(3) = 10
//@ run: f(0) = 6
#include "kernel.h"

static int counter;

static __attribute__((noipa)) int helper(int x)
{
	return 2 * x + counter;
}

__attribute__((noipa)) int f(int x)
{
#ifdef PATCHED
	counter += 2;
	return helper(x) + 2 - 0 * x;
#else
	counter++;
	return helper(x);
#endif
}

int g(int x)
{
	return helper(x) - f(x);
}
