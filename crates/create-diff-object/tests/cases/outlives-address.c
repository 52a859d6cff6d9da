// Whoever has a new function's address may call it at any time.
//@ changed: f g h
//@ new: again callback fire user
//@ outlives: f -> callback
//@ outlives: timer -> fire
//@ outlives: again -> again
//@ exported: outside take
#include "kernel.h"

struct timer {
	struct timer *next;
	int (*function)(int);
};

int take(void *what);

#ifdef PATCHED
static noinline int callback(int x)
{
	return x + 1;
}

static noinline int fire(int x)
{
	return x + 2;
}

static struct timer timer = { .function = fire };

/* Rearms itself. */
static noinline int again(int x)
{
	take(again);
	return x + 3;
}

/* Its cases and its label are places, not functions. */
static noinline int user(int x)
{
	void *label = &&there;

	switch (x) {
	case 0: return outside(10);
	case 1: return outside(1) * 2;
	case 2: return outside(x) - 7;
	case 3: return outside(x * x) + 1;
	case 4: return outside(33);
	case 5: return outside(72);
	case 6: return outside(3) | 0x100;
	case 7: return outside(5) ^ 0x33;
	}
	if (take(label))
		goto *label;
	return 0;
there:
	return outside(99);
}
#endif

int f(int x)
{
#ifdef PATCHED
	take(callback);
	take(f);
#endif
	return outside(x) + 1;
}

int g(int x)
{
#ifdef PATCHED
	take(&timer);
	x += again(x);
#endif
	return outside(x) + 2;
}

int h(int x)
{
#ifdef PATCHED
	x += user(x);
#endif
	return outside(x) + 3;
}
