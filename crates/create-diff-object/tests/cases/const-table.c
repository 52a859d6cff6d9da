// A file's constant table is data of the kernel like any other: others may have read it.
//@ refuse: KPB0402 table
// clang makes it a constant that linkers merge with others: its content is what counts.
//@ clang-changed: f
#include "kernel.h"

#ifdef PATCHED
static const int table[8] = { 1, 2, 3, 4, 5, 6, 7, 9 };
#else
static const int table[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
#endif

int f(int i)
{
	return table[i & 7];
}
