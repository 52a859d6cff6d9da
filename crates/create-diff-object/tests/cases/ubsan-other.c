// Another type in the description of a check is a change.
//@ changed: g
//@ flags: -fsanitize=alignment
//@ only: padded plain switch
#include "kernel.h"

void __ubsan_handle_type_mismatch_v1(void *data, unsigned long a)
{
}

struct one { long a; };
struct two { long a; };
#ifdef PATCHED
#define one two
#endif

long g(struct one *p)
{
	return p->a;
}
