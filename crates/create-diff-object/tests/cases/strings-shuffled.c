// New strings before the old ones move all of these, and the section's other symbols.
//@ new: fresh
//@ new-globals: fresh
//@ text: apple
//@ no-text: pear
#include "kernel.h"

void puts_(const char *s);

#ifdef PATCHED
void fresh(void)
{
	puts_("apple");
	puts_("a much longer string, which gcc puts with others of its kind into one section .str1.8");
}
#endif

void f(void)
{
	puts_("pear");
	puts_("this string is also long enough to be aligned to eight bytes, as strcpy and memcpy like");
}

void g(void)
{
	puts_("plum");
	puts_("pear");
}
