// The kernel has a clone of the function, which takes other arguments. The patched function is not it:
// a caller would bring it into the patch, although the author wants it to be ignored.
//@ refuse: KPB0415 ignored
//@ only: gcc
#include "kernel.h"

#define not_copied __attribute__((__noinline__, __noclone__))
#ifdef PATCHED
#define maybe_cloned not_copied
#else
#define maybe_cloned __attribute__((__noinline__))
#endif

struct pair {
	int a, b;
};

static maybe_cloned int ignored(struct pair *pair, int unused)
{
#ifdef PATCHED
	return outside(pair->a) + outside(pair->b) + unused;
#else
	return outside(pair->a) + outside(pair->b);
#endif
}

int other(struct pair *pair)
{
	return ignored(pair, 5) + 1;
}

#ifdef PATCHED
#include <kpatch-macros.h>
KPATCH_IGNORE_FUNCTION(ignored);
#endif
