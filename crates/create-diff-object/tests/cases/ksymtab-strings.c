// Older kernels name exports in a section that all files share.
//@ same
#include "kernel.h"

#ifdef PATCHED
#define NAMESPACE "other"
#else
#define NAMESPACE "one"
#endif

int f(int x)
{
	return x + 1;
}
asm(".pushsection \"__ksymtab_strings\", \"aMS\", %progbits, 1\n"
    "__kstrtab_f: .asciz \"f\"\n"
    "__kstrtabns_f: .asciz \"" NAMESPACE "\"\n"
    ".popsection\n"
    ".pushsection \"___ksymtab+f\", \"a\"\n"
    ".balign 4\n"
    "__ksymtab_f: .long f - ., __kstrtab_f - ., __kstrtabns_f - .\n"
    ".popsection");
