// Before objtool a static call is a call of the trampoline: it may be bound when the module comes.
//@ changed: f
//@ module: m __SCT__hook
//@ refers: f -> klp __SCT__hook
//@ lacks: .static_call_sites
//@ placeholders: __SCT__hook
#include "kernel.h"

int __SCT__hook(int x);

int f(int x)
{
#ifdef PATCHED
	return __SCT__hook(x) + 2;
#else
	return __SCT__hook(x) + 1;
#endif
}
