/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a patch can tell the tools, under the names that kpatch gave it. A patched file includes
 * this, and the macros leave pointers in sections that never go into the patch module: the differ
 * reads them (crates/create-diff-object/src/authors.rs, which has the layout).
 *
 * All macros but KPATCH_PRINTK* and KPATCH_STATIC_CALL stand at file level, with a semicolon, below
 * the functions that they name.
 */
#ifndef _KPATCH_MACROS_H
#define _KPATCH_MACROS_H

#include <linux/compiler.h>
#include <linux/jiffies.h>
#include <linux/livepatch.h>
#include <linux/printk.h>

/* What callbacks are given: the patched object, vmlinux or a module. */
typedef struct klp_object patch_object;

#define __KPATCH_SECTION(name) __used __section(name)

/* 16 bytes: the function; the object's name, which the tools know better. */
struct kpatch_int_callback {
	int (*function)(patch_object *object);
	const char *object_name;
};
struct kpatch_void_callback {
	void (*function)(patch_object *object);
	const char *object_name;
};

#define __KPATCH_CALLBACK(kind, result, fn)				\
	static struct kpatch_##result##_callback			\
	__KPATCH_SECTION(".kpatch.callbacks." #kind)			\
	kpatch_##kind##_callback_##fn = { .function = fn }

/*
 * Callbacks, at most one of each kind in all files of vmlinux or of one module. They run in process
 * context and may sleep. For a module that is loaded later than the patch, they run when it is.
 *
 * int fn(patch_object *): before the object is patched. An error (a negative errno) keeps the whole
 * patch from being enabled, or the module from being loaded; no other callback of the object runs.
 */
#define KPATCH_PRE_PATCH_CALLBACK(fn) __KPATCH_CALLBACK(pre_patch, int, fn)
/* void fn(patch_object *): when every task runs the new code. */
#define KPATCH_POST_PATCH_CALLBACK(fn) __KPATCH_CALLBACK(post_patch, void, fn)
/* void fn(patch_object *): before tasks go back to the old code. */
#define KPATCH_PRE_UNPATCH_CALLBACK(fn) __KPATCH_CALLBACK(pre_unpatch, void, fn)
/* void fn(patch_object *): when every task runs the old code again. */
#define KPATCH_POST_UNPATCH_CALLBACK(fn) __KPATCH_CALLBACK(post_unpatch, void, fn)

/*
 * States: what the callbacks of this patch change in the system, known by a number to all patches of the
 * kernel. A patch that replaces others is enabled only if it has all their states, in the same version or
 * a newer one; its callbacks see by klp_get_prev_state(id) what is there already, and take it over:
 * callbacks of patches that are replaced do not run.
 */
#define KPATCH_STATE(id, version)					\
	static const unsigned long __KPATCH_SECTION(".kpatch.states")	\
	__UNIQUE_ID(kpatch_state_)[2] = { id, version }

/* In a callback: the patch's own state of that number (struct klp_state *), where it keeps its data. */
#define KPATCH_GET_STATE(object, id)					\
	klp_get_state(container_of((object)->kobj.parent, struct klp_patch, kobj), id)

/*
 * The function stays the kernel's own, whatever the compiler made of it this time. Only its name is
 * noted: to take its address would make the compiler change it and its callers.
 */
#define KPATCH_IGNORE_FUNCTION(fn)					\
	_Static_assert(sizeof(&fn), "there must be such a function");	\
	static const char *__KPATCH_SECTION(".kpatch.ignore.functions")	\
	__kpatch_ignore_func_##fn = #fn

/* Differences in what sections of this name hold do not count. */
#define KPATCH_IGNORE_SECTION(name)					\
	static const char *__KPATCH_SECTION(".kpatch.ignore.sections")	\
	__UNIQUE_ID(kpatch_ignore_section_) = name

/* No effect: livepatch checks the stack of every task. The tools say so. */
#define KPATCH_FORCE_UNSAFE(fn)						\
	static void *__KPATCH_SECTION(".kpatch.force")			\
	__kpatch_force_func_##fn = fn

/*
 * printk() for a patched function. The compiler takes a branch with a plain one for unlikely and
 * arranges, splits and inlines the code around it in another way; it cannot know about this.
 */
#define KPATCH_PRINTK(fmt, ...)						\
	do {								\
		if (jiffies)						\
			printk(fmt, ##__VA_ARGS__);			\
	} while (0)
#define KPATCH_PRINTK_DEFERRED(fmt, ...)				\
	do {								\
		if (jiffies)						\
			printk_deferred(fmt, ##__VA_ARGS__);		\
	} while (0)

/*
 * static_call() to a key that is not vmlinux' own: the kernel reads a patch module's call sites
 * before the key's module need be there. An ordinary indirect call through the key instead.
 */
#define KPATCH_STATIC_CALL(name)					\
	((typeof(STATIC_CALL_TRAMP(name)) *)READ_ONCE(STATIC_CALL_KEY(name).func))

#endif
