/* SPDX-License-Identifier: GPL-2.0-only */
/* What the glue offers to the entry points of a module. */
#ifndef KPATCH_GLUE_H
#define KPATCH_GLUE_H

/*
 * Builds the patch and enables it; to be called once, while the module is initialised. Returns 0 or a
 * negative errno, which has to become the module's; then nothing has to be undone.
 */
int kpatch_glue_load(void);

/* To be called once, while the module is unloaded. The kernel has let go of the patch before. */
void kpatch_glue_unload(void);

#endif
