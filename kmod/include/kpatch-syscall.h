/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KPATCH_SYSCALL_DEFINE1..6: in a patch, in place of the SYSCALL_DEFINE of a system call that it
 * changes, for kernels with system call wrappers (x86-64 since 4.17).
 *
 * SYSCALL_DEFINE puts the body into an inline function, which ftrace cannot redirect where the
 * compiler did not inline it. Here the body is a new function, and the kernel's own macro makes the
 * entry points that call it, which ftrace can redirect. They call, they do not jump: only so does
 * the kernel's stack check see a task that is in the body, and the module may be unloaded. The
 * descriptions of the system call for tracing stay the kernel's.
 */
#ifndef _KPATCH_SYSCALL_H
#define _KPATCH_SYSCALL_H

#include <linux/compiler.h>
#include <linux/syscalls.h>

#define KPATCH_SYSCALL_DEFINE1(name, ...) __KPATCH_SYSCALL_DEFINEx(1, _##name, __VA_ARGS__)
#define KPATCH_SYSCALL_DEFINE2(name, ...) __KPATCH_SYSCALL_DEFINEx(2, _##name, __VA_ARGS__)
#define KPATCH_SYSCALL_DEFINE3(name, ...) __KPATCH_SYSCALL_DEFINEx(3, _##name, __VA_ARGS__)
#define KPATCH_SYSCALL_DEFINE4(name, ...) __KPATCH_SYSCALL_DEFINEx(4, _##name, __VA_ARGS__)
#define KPATCH_SYSCALL_DEFINE5(name, ...) __KPATCH_SYSCALL_DEFINEx(5, _##name, __VA_ARGS__)
#define KPATCH_SYSCALL_DEFINE6(name, ...) __KPATCH_SYSCALL_DEFINEx(6, _##name, __VA_ARGS__)

#define __KPATCH_SYSCALL_DEFINEx(x, name, ...)				\
	static long __kpatch_do_sys##name(__MAP(x, __SC_DECL, __VA_ARGS__));	\
	__SYSCALL_DEFINEx(x, name, __VA_ARGS__)				\
	{								\
		long ret = __kpatch_do_sys##name(__MAP(x, __SC_ARGS, __VA_ARGS__)); \
		OPTIMIZER_HIDE_VAR(ret);				\
		return ret;						\
	}								\
	static long __kpatch_do_sys##name(__MAP(x, __SC_DECL, __VA_ARGS__))

#endif
