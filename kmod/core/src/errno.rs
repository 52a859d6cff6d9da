// SPDX-License-Identifier: GPL-2.0-only

//! Errors as the kernel says them.
//!
//! C headers: [`include/uapi/asm-generic/errno-base.h`](srctree/include/uapi/asm-generic/errno-base.h),
//! [`include/linux/err.h`](srctree/include/linux/err.h)

use core::ffi::c_int;

/// `MAX_ERRNO`: what is further from zero is no error.
const MAX_ERRNO: c_int = 4095;

/// An error of the kernel.
///
/// # Invariants
///
/// The number is one of -[`MAX_ERRNO`] to -1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error(c_int);

/// What may fail as functions of the kernel do.
pub type Result<T = ()> = core::result::Result<T, Error>;

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        impl Error {
            $($(#[$doc])* pub const $name: Self = Self(-$number);)*
        }
    };
}

// INVARIANT: All of them are.
errors! {
    /// Operation not permitted.
    EPERM = 1;
    /// No such file, symbol or state.
    ENOENT = 2;
    /// Input or output error.
    EIO = 5;
    /// The module, or the kernel, is not the one that the patch was built for: what the kernel says to a
    /// module of another vermagic.
    ENOEXEC = 8;
    /// Try again.
    EAGAIN = 11;
    /// Out of memory.
    ENOMEM = 12;
    /// The device or resource is busy; another transition is running.
    EBUSY = 16;
    /// There is one already.
    EEXIST = 17;
    /// No such device.
    ENODEV = 19;
    /// Invalid argument.
    EINVAL = 22;
}

impl Error {
    /// The error of a function that returns a negative number on failure. A number that is no error of
    /// the kernel, which would be taken for success further up, becomes `EINVAL`.
    #[inline]
    pub const fn from_errno(number: c_int) -> Self {
        if number < -MAX_ERRNO || number >= 0 {
            return Self::EINVAL;
        }
        // INVARIANT: Just checked.
        Self(number)
    }

    /// The negative number.
    #[inline]
    pub const fn to_errno(self) -> c_int {
        self.0
    }
}

/// What a function returned of which 0 means success and a negative number an error.
///
/// # Errors
/// The error; `EINVAL` for a positive number.
#[inline]
pub const fn to_result(returned: c_int) -> Result {
    if returned == 0 {
        return Ok(());
    }
    Err(Error::from_errno(returned))
}
