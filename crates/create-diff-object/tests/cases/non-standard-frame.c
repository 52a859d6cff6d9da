// STACK_FRAME_NON_STANDARD(): objtool has to know it of the copy, too.
//@ changed: f
//@ holds: .discard.func_stack_frame_non_standard 8
//@ refers: .discard.func_stack_frame_non_standard -> f
#include "kernel.h"

int e(int x)
{
	return x;
}

int f(int x)
{
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}

#define NON_STANDARD(f)							\
	static void *__attribute__((used))				\
	__section(".discard.func_stack_frame_non_standard")		\
	__func_stack_frame_non_standard_##f = f

NON_STANDARD(e);
NON_STANDARD(f);
