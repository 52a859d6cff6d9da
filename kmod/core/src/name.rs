// SPDX-License-Identifier: GPL-2.0-only

//! Names as the toolchain's table has them: pointers to NUL-terminated strings.
//!
//! `core::ffi::CStr` is not used to read them, because it calls `strlen` and `memcmp`.

use core::ffi::c_char;
use core::ffi::CStr;
use core::ptr::NonNull;
use core::slice;

/// A NUL-terminated string of the module.
///
/// # Invariants
///
/// The pointer is to a NUL-terminated string that lives, unchanged, as long as the module.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(crate) struct Name(NonNull<c_char>);

impl Name {
    /// Wraps `pointer`.
    ///
    /// # Safety
    ///
    /// `pointer` must be to a NUL-terminated string that lives, unchanged, as long as the module.
    pub(crate) unsafe fn new(pointer: NonNull<c_char>) -> Self {
        // INVARIANT: By this function's contract.
        Self(pointer)
    }

    /// A literal's name.
    pub(crate) fn from_literal(literal: &'static CStr) -> Self {
        // SAFETY: A `'static` `CStr` is NUL-terminated and outlives the module's code.
        unsafe { Self::new(NonNull::from(literal).cast()) }
    }

    /// The address, for the kernel.
    pub(crate) fn as_ptr(self) -> *const c_char {
        self.0.as_ptr()
    }

    /// The string, for as long as the module lives.
    #[inline]
    pub(crate) fn as_c_str<'a>(self) -> &'a CStr {
        let mut length: usize = 0;
        // SAFETY: Not further than the string's NUL, which ends the loop.
        while unsafe { self.as_ptr().add(length).read() } != 0 {
            length = length.wrapping_add(1);
        }
        let size = length.wrapping_add(1);
        // SAFETY: By the invariant there are as many bytes, unchanged, and the last is the first NUL.
        unsafe {
            CStr::from_bytes_with_nul_unchecked(slice::from_raw_parts(self.as_ptr().cast(), size))
        }
    }

    /// Whether both strings have the same content, wherever they are.
    pub(crate) fn same(self, other: Self) -> bool {
        let mut left = self.as_ptr();
        let mut right = other.as_ptr();
        loop {
            // SAFETY: Neither pointer has passed its string's NUL: the loop ends there at the
            // latest. The strings are alive by the invariant.
            let (a, b) = unsafe { (left.read(), right.read()) };
            if a != b {
                return false;
            }
            if a == 0 {
                return true;
            }
            // SAFETY: The byte read was not the NUL, so there is one more.
            let next = unsafe { (left.add(1), right.add(1)) };
            (left, right) = next;
        }
    }

    /// Whether the string is `literal`.
    pub(crate) fn is(self, literal: &'static CStr) -> bool {
        self.same(Self::from_literal(literal))
    }
}
