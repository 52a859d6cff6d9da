// What is refused is explained, too.
//@ refuse: KPB0402 limit
//@ refuse: KPB0402 text
//@ refuse: KPB0409 grown
//@ explains: limit: data: its initial value is another
//@ explains: limit: tests/cases/explain-data.c:18
//@ explains: limit: 04 00 00 00
//@ explains: limit: 05 00 00 00
//@ explains: text: data: it pointed to "old" and points to "new"
//@ explains: grown: data: its size was 8 bytes and is 12
#include "kernel.h"

#ifdef PATCHED
int limit = 5;
const char *text = "new";
int grown[3] = { 1, 2 };
#else
int limit = 4;
const char *text = "old";
int grown[2] = { 1, 2 };
#endif
