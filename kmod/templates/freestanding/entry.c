// SPDX-License-Identifier: GPL-2.0-only
/* The entry points of a patch module in C, for kernels whose build makes no Rust modules. */
#include <linux/init.h>
#include <linux/module.h>

#include "glue.h"

static int __init kpatch_init(void)
{
	return kpatch_glue_load();
}

static void __exit kpatch_exit(void)
{
	kpatch_glue_unload();
}

module_init(kpatch_init);
module_exit(kpatch_exit);
MODULE_DESCRIPTION("Livepatch built by kpatch-build");
MODULE_LICENSE("GPL");
