// What modinfo prints of the file on disk.
//@ same
#include "kernel.h"

#ifdef PATCHED
#define TEXT "description=now"
#else
#define TEXT "description=then"
#endif

static const char info[] __section(".modinfo") __attribute__((used, aligned(1))) = TEXT;

int f(int x)
{
	return x;
}
