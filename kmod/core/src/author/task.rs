// SPDX-License-Identifier: GPL-2.0-only

//! The task that runs a function. An interrupt handler runs in whatever task it interrupts.
//!
//! C headers: [`include/linux/sched.h`](srctree/include/linux/sched.h),
//! [`include/linux/pid.h`](srctree/include/linux/pid.h)

use core::ffi::c_int;

use crate::glue;

/// The number of a task or of a thread group: `pid_t`.
pub type Pid = c_int;

/// The number of the running task, as the kernel counts: in no namespace.
#[inline]
pub fn current_pid() -> Pid {
    // SAFETY: There always is a running task.
    unsafe { glue::kpatch_glue_current_pid() }
}

/// The number of the running task's thread group in its own namespace: what `getpid()` tells it.
#[inline]
pub fn current_tgid_in_namespace() -> Pid {
    // SAFETY: As above.
    unsafe { glue::kpatch_glue_current_tgid_in_namespace() }
}
