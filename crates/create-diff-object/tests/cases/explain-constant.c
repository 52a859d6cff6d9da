// A number in an instruction, and a table that the compiler made of a switch.
//@ changed: f g
//@ explains: f: constant: `mov $0x11,%edi` became `mov $0x12,%edi`
//@ explains: g: constant: 
//@ gcc-explains: g: is another: at 0x14 it was 0d 00 00 00 and is 0c 00 00 00
//@ exported: outside
#include "kernel.h"

int f(void)
{
#ifdef PATCHED
	return outside(18) + 1;
#else
	return outside(17) + 1;
#endif
}

int g(unsigned int x)
{
	switch (x) {
	case 0:
		return 3;
	case 1:
		return 8;
	case 2:
		return 4;
	case 3:
		return 77;
	case 4:
		return 9;
#ifdef PATCHED
	case 5:
		return 12;
#else
	case 5:
		return 13;
#endif
	case 6:
		return 42;
	}
	return -1;
}
