// As CALL_NOSPEC: an annotation in the middle of a replacement does not cut it in two.
//@ changed: f
//@ holds: .altinstr_replacement 5
//@ holds: .discard.retpoline_safe 4
#include "kernel.h"

#define INDIRECT_CALL							\
	ALTERNATIVE("nop", "lfence; 912: "				\
		".pushsection .discard.retpoline_safe; .long 912b; .popsection; call *%%rax", 101)

int e(int (*x)(void))
{
	asm volatile(INDIRECT_CALL : : "a" (x));
	return 3;
}

int f(int (*x)(void))
{
	asm volatile(INDIRECT_CALL : : "a" (x));
#ifdef PATCHED
	return 2;
#else
	return 1;
#endif
}
