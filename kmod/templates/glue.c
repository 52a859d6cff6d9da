// SPDX-License-Identifier: GPL-2.0-only
/*
 * What only the target kernel's headers can say, whatever the entry points are written in: the layout
 * of the livepatch structures, storage for them, wrappers for what is inline or a macro, and what modinfo
 * says of livepatching. All logic is in the Rust core (kmod/core).
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/build_bug.h>
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/stddef.h>
#include <linux/types.h>
#include <linux/version.h>

/*
 * Generated: KPATCH_NR_FUNCS, KPATCH_NR_CALLBACKS, KPATCH_NR_GATE, KPATCH_NR_OBJECTS, KPATCH_REPLACE,
 * KPATCH_PIN, KPATCH_AUTHORED,
 * KPATCH_NR_STATES, KPATCH_STATES, KPATCH_BUILT_FOR.
 */
#include "counts.h"
#include "glue.h"

/* The first fields of these are written by the core (layout.rs). */
static_assert(offsetof(struct klp_func, old_name) == 0);
static_assert(offsetof(struct klp_func, new_func) == 8);
static_assert(offsetof(struct klp_func, old_sympos) == 16);
static_assert(offsetof(struct klp_object, name) == 0);
static_assert(offsetof(struct klp_object, funcs) == 8);
static_assert(offsetof(struct klp_object, callbacks) == 16);
static_assert(offsetof(struct klp_callbacks, pre_patch) == 0);
static_assert(offsetof(struct klp_callbacks, post_patch) == 8);
static_assert(offsetof(struct klp_callbacks, pre_unpatch) == 16);
static_assert(offsetof(struct klp_callbacks, post_unpatch) == 24);
static_assert(offsetof(struct klp_patch, mod) == 0);
static_assert(offsetof(struct klp_patch, objs) == 8);
static_assert(offsetof(struct klp_patch, states) == 16);
static_assert(offsetof(struct klp_patch, replace) == 24);
static_assert(sizeof(((struct klp_patch *)0)->replace) == 1);
static_assert(offsetof(struct klp_patch, list) == 32);

/* What callbacks are written as, in kmod/include/ and by those who use it. */
static_assert(__same_type(((struct klp_callbacks *)0)->pre_patch, int (*)(struct klp_object *)));
static_assert(__same_type(((struct klp_callbacks *)0)->post_patch, void (*)(struct klp_object *)));
static_assert(__same_type(((struct klp_callbacks *)0)->pre_unpatch, void (*)(struct klp_object *)));
static_assert(__same_type(((struct klp_callbacks *)0)->post_unpatch, void (*)(struct klp_object *)));

/* The same as Params in kmod/core/src/tables/params.rs. */
struct kpatch_params {
	struct module *mod;
	const void *records;
	size_t record_count;
	const void *callbacks;
	size_t callback_count;
	const void *gate;
	size_t gate_count;
	struct klp_state *states;
	size_t object_count;
	struct klp_patch *patch;
	struct klp_object *objects;
	size_t object_slots;
	size_t object_size;
	struct klp_func *functions;
	size_t function_slots;
	size_t function_size;
	int (*check_module)(struct klp_object *object);
	bool replace;
	bool pin;
};
static_assert(offsetof(struct kpatch_params, records) == 8);
static_assert(offsetof(struct kpatch_params, callbacks) == 24);
static_assert(offsetof(struct kpatch_params, gate) == 40);
static_assert(offsetof(struct kpatch_params, states) == 56);
static_assert(offsetof(struct kpatch_params, patch) == 72);
static_assert(offsetof(struct kpatch_params, functions) == 104);
static_assert(offsetof(struct kpatch_params, check_module) == 128);
static_assert(offsetof(struct kpatch_params, replace) == 136);
static_assert(offsetof(struct kpatch_params, pin) == 137);
static_assert(sizeof(struct kpatch_params) == 144);

int kpatch_core_load(const struct kpatch_params *params);
int kpatch_author_load(const struct kpatch_params *params);
void kpatch_author_unload(void);
int kpatch_core_check_module(const struct kpatch_params *params, const char *object,
			     const void *memory, size_t size);
void *kpatch_core_author_pre_patch(const struct kpatch_params *params, const char *object);
void kpatch_glue_pin(void);
void kpatch_glue_log_failure(const char *text, int error);
void kpatch_glue_log_other_build(const char *object, const u8 *built_for, size_t built_for_size,
				 const u8 *found, size_t found_size);

/*
 * This object is the first of the link: its empty part of a section is where the records of the diff
 * objects begin. A section that stays empty is not kept by every linker.
 */
#define KPATCH_TABLE(section, begin)		\
	asm(".pushsection " section ", \"a\", @progbits\n"	\
	    ".balign 8\n"			\
	    #begin ":\n"			\
	    ".popsection\n");			\
	extern const char begin[]

#if KPATCH_NR_FUNCS
KPATCH_TABLE(".kpatch.funcs", kpatch_records);
#else
#define kpatch_records NULL
#endif
#if KPATCH_NR_CALLBACKS
KPATCH_TABLE(".kpatch.callbacks", kpatch_callbacks);
#else
#define kpatch_callbacks NULL
#endif
#if KPATCH_NR_GATE
KPATCH_TABLE(".kpatch.gate", kpatch_gate);
static int kpatch_check_module(struct klp_object *object);
#else
#define kpatch_gate NULL
#define kpatch_check_module NULL
#endif

#if KPATCH_NR_STATES
static struct klp_state kpatch_states[] = { KPATCH_STATES { } };
#else
#define kpatch_states NULL
#endif

/* One element more for the end of each list. Zeroed, and the kernel's until the module is gone. */
static struct klp_func kpatch_functions[KPATCH_NR_FUNCS + KPATCH_NR_OBJECTS];
static struct klp_object kpatch_objects[KPATCH_NR_OBJECTS + 1];
static struct klp_patch kpatch_patch;

static const struct kpatch_params kpatch_params = {
	.mod = THIS_MODULE,
	.records = kpatch_records,
	.record_count = KPATCH_NR_FUNCS,
	.callbacks = kpatch_callbacks,
	.callback_count = KPATCH_NR_CALLBACKS,
	.gate = kpatch_gate,
	.gate_count = KPATCH_NR_GATE,
	.states = kpatch_states,
	.object_count = KPATCH_NR_OBJECTS,
	.patch = &kpatch_patch,
	.objects = kpatch_objects,
	.object_slots = ARRAY_SIZE(kpatch_objects),
	.object_size = sizeof(struct klp_object),
	.functions = kpatch_functions,
	.function_slots = ARRAY_SIZE(kpatch_functions),
	.function_size = sizeof(struct klp_func),
	.check_module = kpatch_check_module,
	.replace = KPATCH_REPLACE,
	.pin = KPATCH_PIN,
};

void kpatch_glue_pin(void)
{
	__module_get(THIS_MODULE);
}

void kpatch_glue_log_failure(const char *text, int error)
{
	pr_err("%s (error %d)\n", text, error);
}

/* The kernel prints up to 64 bytes this way. */
void kpatch_glue_log_other_build(const char *object, const u8 *built_for, size_t built_for_size,
				 const u8 *found, size_t found_size)
{
	if (found_size)
		pr_err("built for %s with build-id %*phN, this one has %*phN\n", object,
		       (int)built_for_size, built_for, (int)found_size, found);
	else
		pr_err("built for %s with build-id %*phN, this one has none\n", object,
		       (int)built_for_size, built_for);
}

#if KPATCH_NR_GATE
/*
 * The pre_patch callback of every module. The core has the author's, but the call is here: the
 * compiler makes it as the kernel's configuration wants indirect calls. object->mod is there, for the
 * kernel patches loaded modules only (klp_find_object_module(), klp_module_coming()).
 */
static int kpatch_check_module(struct klp_object *object)
{
	int (*pre_patch)(struct klp_object *object);
	const void *rodata;
	size_t size;
	int error;

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
	rodata = object->mod->mem[MOD_RODATA].base;
	size = object->mod->mem[MOD_RODATA].size;
#else
	rodata = object->mod->core_layout.base + object->mod->core_layout.text_size;
	size = object->mod->core_layout.ro_size - object->mod->core_layout.text_size;
#endif
	error = kpatch_core_check_module(&kpatch_params, object->name, rodata, size);
	if (error)
		return error;
	pre_patch = kpatch_core_author_pre_patch(&kpatch_params, object->name);
	return pre_patch ? pre_patch(object) : 0;
}
#endif

int kpatch_glue_load(void)
{
#if KPATCH_AUTHORED
	return kpatch_author_load(&kpatch_params);
#else
	return kpatch_core_load(&kpatch_params);
#endif
}

void kpatch_glue_unload(void)
{
#if KPATCH_AUTHORED
	kpatch_author_unload();
#endif
}

MODULE_INFO(livepatch, "Y");
/* MODULE_INFO(kpatch_built_for, "OBJECT:BUILD-ID"); for each object, or that nothing is checked. */
KPATCH_BUILT_FOR
