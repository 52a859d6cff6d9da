// The form of Linux 6.19's own header: a pointer in a variable whose name says kind and object.
//@ new: post_patch pre_unpatch
//@ holds: .kpatch.callbacks 48
//@ lacks: .discard.klp_callback_ptrs
#include "kernel.h"

int get(void)
{
	return 1;
}

#ifdef PATCHED
#include <linux/compiler.h>
struct klp_object;

static void post_patch(struct klp_object *object)
{
	outside(3);
}
void (*__used __section(".discard.klp_callback_ptrs")
      __klp_post_patch_callback_vmlinux)(struct klp_object *) = post_patch;

static void pre_unpatch(struct klp_object *object)
{
	outside(4);
}
void (*__used __section(".discard.klp_callback_ptrs")
      __klp_pre_unpatch_callback_vmlinux)(struct klp_object *) = pre_unpatch;
#endif
