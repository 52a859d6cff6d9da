// A tracepoint of a module, before objtool: the site is a jump into the traced path, which objtool makes a
// NOP because of bit 1 of the key field. Without an entry the jump would stay; with the module's key the
// kernel would read a key that is not there yet. So the entry gets a key of the patch that is off.
//@ changed: f
//@ module: m __tracepoint_hit trace_hit
//@ warns: tracepoint `hit` of module `m` stays off in the patched `f`
//@ holds: __jump_table 32
//@ refers: __jump_table -> __kpatch_key_off
//@ refers: __jump_table -> klp key
//@ refers-not: __jump_table -> klp __tracepoint_hit
//@ placeholders: key trace_hit
#include "kernel.h"

struct tracepoint {
	const char *name;
	struct static_key key;
};

extern struct tracepoint __tracepoint_hit;
extern struct static_key key;
void trace_hit(int x);

static __attribute__((always_inline)) inline _Bool tracing(void)
{
	asm goto("1: .byte 0xe9\n.long %l[yes] - 2f\n2:\n"
		 ".pushsection __jump_table, \"aw\"\n"
		 ".balign 8\n"
		 ".long 1b - .\n"
		 ".long %l[yes] - .\n"
		 ".quad %c0 + 2 - .\n"
		 ".popsection\n"
		 : : "i" (&__tracepoint_hit.key) : : yes);
	return 0;
yes:
	return 1;
}

int e(int x)
{
	if (tracing())
		trace_hit(x);
	return x;
}

int f(int x)
{
	if (tracing())
		trace_hit(x);
#ifdef PATCHED
	return static_branch(&key, 0) ? x + 9 : x + 2;
#else
	return x + 1;
#endif
}
