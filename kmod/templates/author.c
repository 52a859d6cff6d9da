// SPDX-License-Identifier: GPL-2.0-only
/*
 * What livepatches that are written in Rust use of the kernel that is inline, a macro or a number that
 * depends on the configuration. Only modules of authors have this file.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/build_bug.h>
#include <linux/gfp.h>
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/pid.h>
#include <linux/printk.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/stddef.h>
#include <linux/types.h>

int kpatch_glue_module_state(const struct klp_object *object);
void kpatch_glue_print(int level, const char *line);
void *kpatch_glue_alloc(size_t size, u32 flags);
int kpatch_glue_current_pid(void);
int kpatch_glue_current_tgid_in_namespace(void);
extern const u32 kpatch_glue_gfp_kernel, kpatch_glue_gfp_atomic;

/* State in kmod/core/src/author/state.rs: the whole structure. */
static_assert(offsetof(struct klp_state, id) == 0);
static_assert(offsetof(struct klp_state, version) == 8);
static_assert(offsetof(struct klp_state, data) == 16);
static_assert(sizeof(struct klp_state) == 24);

/* KernelParam in kmod/core/src/author/parameter.rs: the whole structure. */
static_assert(offsetof(struct kernel_param, name) == 0);
static_assert(offsetof(struct kernel_param, mod) == 8);
static_assert(offsetof(struct kernel_param, ops) == 16);
static_assert(offsetof(struct kernel_param, perm) == 24);
static_assert(offsetof(struct kernel_param, level) == 26);
static_assert(offsetof(struct kernel_param, flags) == 27);
static_assert(offsetof(struct kernel_param, arg) == 32);
static_assert(sizeof(struct kernel_param) == 40);

/* KernelArray in the same file: the whole structure. */
static_assert(offsetof(struct kparam_array, max) == 0);
static_assert(offsetof(struct kparam_array, elemsize) == 4);
static_assert(offsetof(struct kparam_array, num) == 8);
static_assert(offsetof(struct kparam_array, ops) == 16);
static_assert(offsetof(struct kparam_array, elem) == 24);
static_assert(sizeof(struct kparam_array) == 32);

/* ModuleState in kmod/core/src/author/callbacks.rs. */
static_assert(MODULE_STATE_LIVE == 0);
static_assert(MODULE_STATE_COMING == 1);
static_assert(MODULE_STATE_GOING == 2);
static_assert(MODULE_STATE_UNFORMED == 3);

/* kmod/core/src/author/shadow.rs. */
static_assert(__same_type(klp_shadow_ctor_t, int (*)(void *, void *, void *)));
static_assert(__same_type(klp_shadow_dtor_t, void (*)(void *, void *)));

/* kmod/core/src/author/memory.rs. */
static_assert(ARCH_KMALLOC_MINALIGN >= 8);
static_assert(sizeof(gfp_t) == sizeof(u32));
const u32 kpatch_glue_gfp_kernel = (__force u32)GFP_KERNEL;
const u32 kpatch_glue_gfp_atomic = (__force u32)GFP_ATOMIC;

int kpatch_glue_module_state(const struct klp_object *object)
{
	return object->name && object->mod ? object->mod->state : -1;
}

void *kpatch_glue_alloc(size_t size, u32 flags)
{
	return kmalloc(size, (__force gfp_t)flags);
}

int kpatch_glue_current_pid(void)
{
	return task_pid_nr(current);
}

int kpatch_glue_current_tgid_in_namespace(void)
{
	return task_tgid_vnr(current);
}

void kpatch_glue_print(int level, const char *line)
{
	if (level <= 3)
		pr_err("%s\n", line);
	else if (level == 4)
		pr_warn("%s\n", line);
	else
		pr_info("%s\n", line);
}
