// A jump table leads to the same places of code that is aligned otherwise.
//@ same
//@ flags: -falign-jumps=16 -falign-loops=16
//@ patched-flags: -falign-jumps=1 -falign-loops=1
#include "kernel.h"

int f(int x)
{
	int i;

	for (i = 0; i < 10; i++) {
		switch (outside(x)) {
		case 0: x += outside(10); break;
		case 1: x -= outside(1) * 2; break;
		case 2: x += outside(x) - 7; break;
		case 3: x *= outside(x * x) + 1; break;
		case 4: x += outside(72); break;
		case 5: x += outside(33); break;
		}
	}
	return x;
}
