// The class of a debug message is no line, though it stands in the same word.
//@ changed: f
//@ placeholders: print
#include "kernel.h"

/* dynamic_debug.h */
struct descriptor {
	const char *modname, *function, *filename, *format;
	unsigned int lineno:18;
	unsigned int class_id:6;
	unsigned int flags:8;
	struct static_key key;
} __attribute__((aligned(8)));

noinline void print(struct descriptor *d)
{
	asm volatile("");
}

#define debug(text, class)						\
	do {								\
		static struct descriptor __attribute__((aligned(8)))	\
		__section("__dyndbg") descriptor = {			\
			.modname = "m", .function = __func__,		\
			.filename = "file.c", .format = text,		\
			.lineno = __LINE__, .class_id = class,		\
		};							\
		if (static_branch(&descriptor.key, 0))			\
			print(&descriptor);				\
	} while (0)
#ifdef PATCHED
#define CLASS 3
#line 1000
#else
#define CLASS 2
#endif

int f(int x)
{
	debug("first", CLASS);
	return x;
}

int g(int x)
{
	debug("second", 63);
	return x;
}
