// Loops aligned or not are the same loops, with all that refers into them.
//@ same
//@ flags: -falign-loops=16 -falign-jumps=16
//@ patched-flags: -falign-loops=1 -falign-jumps=1
#include "kernel.h"

void __attribute__((cold)) complain(int x);

int f(int *p, int n)
{
	int sum = 0, i;

	asm volatile("1: movl (%1), %0\n2:\n" EXTABLE(1b, 2b) : "=r" (sum) : "r" (p));
	for (i = 0; i < n; i++) {
		if (p[i] < 0) {
			complain(p[i]);
			sum = outside(10);
			continue;
		}
		sum += outside(p[i]);
		if (sum == 77)
			WARN();
		asm volatile(ALTERNATIVE("nop", "call outside", 100) : : : "memory");
	}
	while (sum > 1000)
		sum -= outside(sum);
	return sum;
}
