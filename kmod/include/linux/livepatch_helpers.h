/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The macros for patch authors that Linux has of its own since 6.19, for older kernels. This
 * directory is the last one that the compiler looks into: where the kernel has this header, that
 * one is taken. The tools understand both.
 */
#ifndef _LINUX_LIVEPATCH_HELPERS_H
#define _LINUX_LIVEPATCH_HELPERS_H

#include <kpatch-macros.h>
#include <kpatch-syscall.h>

#define KLP_PRE_PATCH_CALLBACK(fn) KPATCH_PRE_PATCH_CALLBACK(fn)
#define KLP_POST_PATCH_CALLBACK(fn) KPATCH_POST_PATCH_CALLBACK(fn)
#define KLP_PRE_UNPATCH_CALLBACK(fn) KPATCH_PRE_UNPATCH_CALLBACK(fn)
#define KLP_POST_UNPATCH_CALLBACK(fn) KPATCH_POST_UNPATCH_CALLBACK(fn)

#define KLP_STATIC_CALL(name) KPATCH_STATIC_CALL(name)

#define KLP_SYSCALL_DEFINE1(name, ...) KPATCH_SYSCALL_DEFINE1(name, __VA_ARGS__)
#define KLP_SYSCALL_DEFINE2(name, ...) KPATCH_SYSCALL_DEFINE2(name, __VA_ARGS__)
#define KLP_SYSCALL_DEFINE3(name, ...) KPATCH_SYSCALL_DEFINE3(name, __VA_ARGS__)
#define KLP_SYSCALL_DEFINE4(name, ...) KPATCH_SYSCALL_DEFINE4(name, __VA_ARGS__)
#define KLP_SYSCALL_DEFINE5(name, ...) KPATCH_SYSCALL_DEFINE5(name, __VA_ARGS__)
#define KLP_SYSCALL_DEFINE6(name, ...) KPATCH_SYSCALL_DEFINE6(name, __VA_ARGS__)

#endif
