// Changed data, and entries of a special section, do not count where the author says so.
//@ changed: other
//@ lacks: .kpatch.ignore.sections
#include "kernel.h"

#ifdef PATCHED
#define FLAGS 11
int table[2] = { 1, 3 };
#else
#define FLAGS 9
int table[2] = { 1, 2 };
#endif

int get(int x)
{
	WARN_AT(7, FLAGS);
	return table[x];
}

int other(int x)
{
#ifdef PATCHED
	x++;
#endif
	return outside(x);
}

#ifdef PATCHED
#include <kpatch-macros.h>
KPATCH_IGNORE_SECTION(".data.table");
KPATCH_IGNORE_SECTION("__bug_table");
#endif
