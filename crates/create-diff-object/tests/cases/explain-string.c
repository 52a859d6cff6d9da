//@ changed: f
//@ explains: f: string: "the old text\n" became "the new text\n"
//@ explains: f: $"the old text\n",%rdi
//@ exported: print
#include "kernel.h"

extern void print(const char *);

void f(void)
{
#ifdef PATCHED
	print("the new text\n");
#else
	print("the old text\n");
#endif
}
