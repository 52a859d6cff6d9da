// Which object would the callback belong to?
//@ refuse: KPB0415 elsewhere
#include "kernel.h"

#ifdef PATCHED
#include <kpatch-macros.h>

int elsewhere(patch_object *object);
KPATCH_PRE_PATCH_CALLBACK(elsewhere);
#endif
