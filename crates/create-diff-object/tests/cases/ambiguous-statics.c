// Two variables of one name in one function: what is done to each tells them apart.
//@ changed: f
//@ placeholders: count count
//@ refers: f -> klp count
//@ run: f(9) = 1
//@ run: f(9) = 2
//@ run: f(0) = -1
//@ run: f(9) = 3
#include "kernel.h"

int f(int x)
{
#ifdef PATCHED
	asm volatile("incl %0; decl %0" : "+r" (x));
#endif
	if (x > 3) {
		static int count;

		asm volatile("addl $1, %0\n movl %0, %1" : "+m" (count), "=r" (x));
		return x;
	} else {
		static int count;

		asm volatile("subl $1, %0\n movl %0, %1" : "+m" (count), "=r" (x));
		return x;
	}
}
