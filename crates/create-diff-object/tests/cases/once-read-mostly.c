// A new flag of WARN_ON_ONCE() or pr_info_once() as older kernels place it: in memory of the module's own.
//@ changed: f
//@ placeholders:
//@ run: f(1) = 8
//@ run: f(1) = 1
#include "kernel.h"

int f(int x)
{
#ifdef PATCHED
	static _Bool __read_mostly __already_done;

	if (!__already_done) {
		__already_done = 1;
		return 8;
	}
#endif
	return x;
}
