// A descriptor that is the module's own, at file scope, not one of those that pr_debug() makes.
//@ changed: f
//@ module: m descriptor print
//@ warns: pr_debug() of module `m` stays off in the patched `f`
//@ lacks: __jump_table __dyndbg
#include "kernel.h"

void print(void *);

struct descriptor {
	const char *format;
	struct static_key key;
};

struct descriptor __section("__dyndbg") descriptor = { "text" };

int f(int x)
{
	if (static_branch(&descriptor.key, 0))
		print(&descriptor);
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}
