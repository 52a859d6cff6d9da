// Functions of one section share unwinding data, too: `f` begins with what holds at the end of `e`. Cut
// out, it needs an entry of its own.
//@ changed: f
//@ holds: .orc_unwind_ip 8
//@ holds: .orc_unwind 12
//@ text: EEEEEEMMMMMM
//@ only: plain
#include "kernel.h"

#define ORC(place, text)						\
	".pushsection .orc_unwind_ip, \"a\"\n .long " place " - .\n .popsection\n" \
	".pushsection .orc_unwind, \"a\"\n .ascii \"" text "\"\n .popsection\n"

asm(ORC("e", "EEEEEE"));

__section(".sched.text") int e(int x)
{
	return x;
}

__section(".sched.text") int f(int x)
{
	asm volatile("1: nop\n" ORC("1b", "MMMMMM"));
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}
