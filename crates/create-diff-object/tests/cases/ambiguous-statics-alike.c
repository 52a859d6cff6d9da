// Two variables of one name in one function, nothing tells them apart.
//@ refuse: KPB0408 count
//@ refuse: KPB0408 count
#include "kernel.h"

int f(int x)
{
#ifdef PATCHED
	x += 2;
#endif
	if (x > 3) {
		static int count;

		asm volatile("addl $1, %0" : "+m" (count));
		return count + outside(1);
	} else {
		static int count;

		asm volatile("addl $1, %0" : "+m" (count));
		return count + outside(2);
	}
}
