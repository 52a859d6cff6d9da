// What objtool adds to an object is kept entry by entry: no objtool comes after it.
//@ changed: f
//@ holds: .return_sites 4
//@ holds: .retpoline_sites 4
//@ holds: .call_sites 4
//@ holds: .ibt_endbr_seal 4
//@ holds: .cfi_sites 4
//@ holds: .orc_unwind_ip 8
//@ holds: .orc_unwind 12
//@ lacks: .orc_header
//@ refers: .return_sites -> f
//@ refers: .orc_unwind_ip -> f
//@ text: FFFFFFMMMMMM
#include "kernel.h"

#define SITE(name)							\
	".pushsection " name ", \"a\"\n .long 1b - .\n .popsection\n"
#define SITES()								\
	asm volatile("1: nop\n"						\
		     SITE(".return_sites") SITE(".retpoline_sites")	\
		     SITE(".call_sites") SITE(".cfi_sites"))
#define ORC(place, text)						\
	".pushsection .orc_unwind_ip, \"a\"\n .long " place " - .\n .popsection\n" \
	".pushsection .orc_unwind, \"a\"\n .ascii \"" text "\"\n .popsection\n"
#define FUNCTION(name, text)						\
	asm(".pushsection .ibt_endbr_seal, \"a\"\n"			\
	    ".long " #name " - .\n"					\
	    ".popsection\n"						\
	    ORC(#name, text))

asm(".pushsection .orc_header, \"a\"\n .zero 20\n .popsection");

FUNCTION(e, "EEEEEE");
int e(int x)
{
	SITES();
	return x;
}

FUNCTION(f, "FFFFFF");
int f(int x)
{
	SITES();
	asm volatile("1: nop\n" ORC("1b", "MMMMMM"));
#ifdef PATCHED
	return x + 2;
#else
	return x + 1;
#endif
}

FUNCTION(g, "GGGGGG");
int g(int x)
{
	SITES();
	return x;
}
