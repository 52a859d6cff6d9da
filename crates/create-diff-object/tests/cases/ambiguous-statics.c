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

		return ++count;
	} else {
		static int count;

		return --count;
	}
}
