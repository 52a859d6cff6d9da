// An ordinary call through the key, which late relocations can reach.
//@ changed: f
//@ module: m __SCK__hook
//@ refers: f -> klp __SCK__hook
//@ lacks: .static_call_sites
#include "kernel.h"

struct static_call_key {
	void *func;
};
#define STATIC_CALL_KEY(name) __SCK__##name
#define STATIC_CALL_TRAMP(name) __SCT__##name
extern struct static_call_key __SCK__hook;
extern int __SCT__hook(int x);

#include <kpatch-macros.h>

int f(int x)
{
#ifdef PATCHED
	return KPATCH_STATIC_CALL(hook)(x) + 1;
#else
	return __SCT__hook(x);
#endif
}
