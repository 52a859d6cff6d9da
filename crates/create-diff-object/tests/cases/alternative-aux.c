// As static_cpu_has(): the test is out of line, shared by name with nobody, and jumps back into its
// function. Its second half is reached by falling through and by a jump.
//@ changed: f
//@ holds: .altinstr_aux *
//@ refers: .altinstr_aux -> f
//@ run: f(1) = 11
//@ run: f(0) = 22
//@ run: f(2) = 33
#include "kernel.h"

static __attribute__((always_inline)) inline _Bool has(int x)
{
	asm goto("661: jmp 6f\n662:\n"
		 ".pushsection .altinstr_aux, \"ax\"\n"
		 "6: cmpl $1, %[x]\n"
		 "   je %l[yes]\n"
		 "7: testl %[x], %[x]\n"
		 "   je %l[no]\n"
		 "   jmp %l[yes]\n"
		 ".popsection\n"
		 "cmpl $2, %[x]\n"
		 "je 7b\n"
		 : : [x] "r" (x) : "cc" : yes, no);
yes:
	return 1;
no:
	return 0;
}

int e(int x)
{
	return has(x) ? 5 : 6;
}

int f(int x)
{
#ifdef PATCHED
	return x == 2 ? 33 : has(x) ? 11 : 22;
#else
	return has(x) ? 1 : 2;
#endif
}

int g(int x)
{
	return has(x) ? 7 : 8;
}
