/* What the kernel's headers put into special sections (arch/x86/include/asm/, Linux 6.12). */
typedef unsigned short u16;
typedef unsigned char u8;
#ifdef __clang__
/* compiler-clang.h; it has nothing for noipa. */
#define __noipa__ __noinline__
#define noipa __noinline__
#endif
#define noinline __attribute__((__noipa__))
#define notrace __attribute__((__no_instrument_function__))
#define __section(name) __attribute__((section(name)))
#define __init __section(".init.text")
#define __initdata __section(".init.data")
#define __read_mostly __section(".data..read_mostly")

int outside(int x);

/* bug.h */
#define WARN_AT(line, flags)						\
	asm volatile("1: .byte 0x0f, 0x1f, 0x00\n"			\
		     ".pushsection __bug_table, \"aw\"\n"		\
		     "2: .long 1b - .\n"				\
		     "   .long %c0 - .\n"				\
		     "   .word %c1\n"					\
		     "   .word %c2\n"					\
		     "   .org 2b + 12\n"				\
		     ".popsection\n"					\
		     "3: .pushsection .discard.reachable\n"		\
		     "   .long 3b - .\n"				\
		     ".popsection"					\
		     : : "i" (__FILE__), "i" (line), "i" (flags))
#define WARN() WARN_AT(__LINE__, 9)

/* jump_label.h */
struct static_key {
	int enabled;
	void *entries;
};

static __attribute__((always_inline)) inline _Bool
static_branch(struct static_key *key, int branch)
{
	asm goto("1: .byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n"
		 ".pushsection __jump_table, \"aw\"\n"
		 ".balign 8\n"
		 ".long 1b - .\n"
		 ".long %l[yes] - .\n"
		 ".quad %c0 + %c1 - .\n"
		 ".popsection\n"
		 : : "i" (key), "i" (branch) : : yes);
	return 0;
yes:
	return 1;
}

/* alternative.h */
#define ALTERNATIVE(old, new, feature)					\
	"661:\n" old "\n662:\n"						\
	".skip -(((665f-664f)-(662b-661b)) > 0) * ((665f-664f)-(662b-661b)), 0x90\n" \
	"663:\n"							\
	".pushsection .altinstructions, \"a\"\n"			\
	".long 661b - .\n"						\
	".long 664f - .\n"						\
	".4byte " #feature "\n"						\
	".byte 663b-661b\n"						\
	".byte 665f-664f\n"						\
	".popsection\n"							\
	".pushsection .altinstr_replacement, \"ax\"\n"			\
	"664:\n" new "\n665:\n"						\
	".popsection\n"

/* asm.h */
#define EXTABLE(from, to)						\
	".pushsection __ex_table, \"a\"\n"				\
	".balign 4\n"							\
	".long (" #from ") - .\n"					\
	".long (" #to ") - .\n"						\
	".long 3\n"							\
	".popsection\n"

/* alternative.h, SMP */
#define LOCK_PREFIX							\
	".pushsection .smp_locks, \"a\"\n"				\
	".balign 4\n"							\
	".long 671f - .\n"						\
	".popsection\n"							\
	"671: lock; "

/* export.h */
#define EXPORT_SYMBOL(sym)						\
	asm(".pushsection .export_symbol, \"a\"\n"			\
	    "__export_symbol_" #sym ":\n"				\
	    ".asciz \"\"\n"						\
	    ".asciz \"\"\n"						\
	    ".balign 8\n"						\
	    ".quad " #sym "\n"						\
	    ".popsection\n")

/* runtime-const.h */
#define runtime_const_ptr(sym) ({					\
	__typeof__(sym) ret;						\
	asm("mov %1, %0\n1:\n"						\
	    ".pushsection runtime_ptr_" #sym ", \"a\"\n"		\
	    ".long 1b - %c2 - .\n"					\
	    ".popsection"						\
	    : "=r" (ret)						\
	    : "i" (0x0123456789abcdefUL), "i" (sizeof(long)));		\
	ret; })
#define runtime_const_shift_right_32(val, sym) ({			\
	__typeof__(0u + (val)) ret = (val);				\
	asm("shrl $12, %k0\n1:\n"					\
	    ".pushsection runtime_shift_" #sym ", \"a\"\n"		\
	    ".long 1b - 1 - .\n"					\
	    ".popsection"						\
	    : "+r" (ret));						\
	ret; })
