// SPDX-License-Identifier: GPL-2.0-only

// The parts of the module `parts` as patches have them: they say 2, and sleep where the old ones do.

const NEW: c_int = 2;
const EINTR: c_int = -4;
const ERESTARTSYS: c_int = -512;
/// About a minute; how long exactly depends on the kernel.
const MINUTE: core::ffi::c_long = 60 * 250;

extern "C" {
    fn schedule_timeout_interruptible(jiffies: core::ffi::c_long) -> core::ffi::c_long;
    fn wait_for_completion_interruptible(completion: *mut c_void) -> c_int;
    fn wait_for_completion_killable(completion: *mut c_void) -> c_int;
}

/// Replaces `int part_first(void)`.
extern "C" fn part_first() -> c_int {
    NEW
}

/// Replaces `int part_second(void)`.
extern "C" fn part_second() -> c_int {
    NEW
}

/// Replaces `int part_sleep(struct completion *done)`.
unsafe extern "C" fn part_sleep(done: *mut c_void) -> c_int {
    // SAFETY: The caller hands over a completion, and may sleep; here and below.
    if unsafe { wait_for_completion_killable(done) } != 0 {
        EINTR
    } else {
        NEW
    }
}

/// Replaces `int part_nap(struct completion *done)`.
unsafe extern "C" fn part_nap(done: *mut c_void) -> c_int {
    // SAFETY: As above.
    if unsafe { wait_for_completion_interruptible(done) } != 0 {
        ERESTARTSYS
    } else {
        NEW
    }
}

/// Replaces `int part_work(void)`.
unsafe extern "C" fn part_work() -> c_int {
    // SAFETY: As above.
    unsafe { schedule_timeout_interruptible(MINUTE) };
    NEW
}

/// Replaces `int part_fork(struct completion *done)`; this one forks nothing.
unsafe extern "C" fn part_fork(_: *mut c_void) -> c_int {
    NEW
}
