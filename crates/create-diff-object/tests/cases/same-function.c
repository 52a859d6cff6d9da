// The whole of it, twice.
//@ same
#include "kernel.h"

static struct static_key key;
static int count __read_mostly;

int f(int *p)
{
	static int calls;
	int x;

	asm volatile("1: movl (%1), %0\n2:\n" EXTABLE(1b, 2b) : "=r" (x) : "r" (p));
	asm volatile(ALTERNATIVE("nop", "call outside", 100) : : : "memory");
	if (x == 3)
		WARN();
	if (static_branch(&key, 0))
		count++;
	switch (x) {
	case 0: return outside(10);
	case 1: return outside(1) * 2;
	case 2: return outside(x) - 7;
	case 3: return outside(x * x) + 1;
	case 4: return outside(72);
	case 5: return outside(33) + ++calls;
	}
	return count;
}
EXPORT_SYMBOL(f);
