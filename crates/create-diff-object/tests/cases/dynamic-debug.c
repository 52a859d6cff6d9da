// Descriptors lie side by side in their section and say nothing about each other. The old functions keep
// theirs, the new one has its own.
//@ changed: f
//@ holds: __dyndbg 72
//@ holds: __jump_table 32
//@ refers: __jump_table -> descriptor
//@ placeholders: print
#include "kernel.h"

struct descriptor {
	const char *function, *format;
	unsigned int line;
	struct static_key key;
} __attribute__((packed));

noinline void print(struct descriptor *d)
{
	asm volatile("");
}

#define debug(text)							\
	do {								\
		static struct descriptor __attribute__((aligned(8)))	\
		__section("__dyndbg") descriptor = {			\
			.function = __func__, .format = text, .line = 1,	\
		};							\
		if (static_branch(&descriptor.key, 0))			\
			print(&descriptor);				\
	} while (0)

int e(int x)
{
	debug("first");
	return x;
}

int f(int x)
{
	debug("second");
#ifdef PATCHED
	debug("third");
#endif
	return x;
}

int g(int x)
{
	debug("fourth");
	debug("fifth");
	return x;
}
