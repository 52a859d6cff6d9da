// A misspelt name would ignore nothing.
//@ refuse: KPB0415 .data.tabel
#include "kernel.h"

int table[2] = { 1, 2 };

#ifdef PATCHED
#include <kpatch-macros.h>
KPATCH_IGNORE_SECTION(".data.tabel");
#endif
