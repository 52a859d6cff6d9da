// Exports, parameters, events and the printk index of what is new stay behind, and the user hears of it.
//@ changed: f
//@ warns: a new export is not carried into the patch
//@ warns: a new entry of the printk index is not carried into the patch
//@ lacks: .export_symbol .printk_index __param
#include "kernel.h"

struct entry {
	const char *text;
};

#define INDEXED(text)							\
	do {								\
		static const struct entry _entry = { text };		\
		static const struct entry *_entry_ptr			\
		__attribute__((used)) __section(".printk_index") = &_entry; \
	} while (0)

static int parameter;
static int *__param_one __attribute__((used)) __section("__param") = &parameter;

int e(int x)
{
	INDEXED("first");
	return x;
}
EXPORT_SYMBOL(e);

int f(int x)
{
	INDEXED("second");
#ifdef PATCHED
	INDEXED("third");
	return x + 2;
#else
	return x + 1;
#endif
}

#ifdef PATCHED
EXPORT_SYMBOL(f);
#endif
