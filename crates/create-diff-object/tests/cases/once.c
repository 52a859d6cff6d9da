// Flags that macros put beside their use: the new function has one of its own, and its number means
// nothing.
//@ changed: f
//@ placeholders:
//@ refers: f -> __already_done
//@ run: f(0) = 2
//@ run: f(0) = 3
#include "kernel.h"

#define ONCE()								\
	({								\
		static _Bool __section(".data..once") __already_done;	\
		_Bool first = !__already_done;				\
		__already_done = 1;					\
		first;							\
	})

int e(int x)
{
	return ONCE() ? x + 1 : x;
}

int f(int x)
{
#ifdef PATCHED
	int also = ONCE();

	return ONCE() + also ? 2 : 3;
#else
	return ONCE() ? x : x + 1;
#endif
}

int g(int x)
{
	return ONCE() ? x + 5 : x;
}
