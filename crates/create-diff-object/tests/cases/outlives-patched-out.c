// static_cpu_has(): the test out of line runs only until alternatives are applied.
//@ changed: f
//@ outlives: none
//@ holds: .altinstr_aux *
#include "kernel.h"

int f(int x)
{
#ifdef PATCHED
	asm goto(ALTERNATIVE("jmp 6f", "jmp %l[no]", 117)
		 ".pushsection .altinstr_aux, \"ax\"\n"
		 "6: testl %[x], %[x]\n"
		 "   jne %l[yes]\n"
		 "   jmp %l[no]\n"
		 ".popsection\n"
		 : : [x] "r" (x) : "cc" : yes, no);
yes:
	return 3;
no:
#endif
	return x;
}
