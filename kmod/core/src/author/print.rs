// SPDX-License-Identifier: GPL-2.0-only

//! Lines for the kernel's log. Not by `core::fmt`, whose code kernels without Rust do not have: a line is a
//! list of pieces, one behind the other.

use core::ffi::c_int;
use core::ffi::CStr;

use crate::glue;

/// Bytes of a line, the end included. Longer ones are cut.
const LINE_MAX: usize = 256;

/// A line of the log.
#[derive(Debug)]
pub struct Line {
    /// Ends with at least one NUL.
    bytes: [u8; LINE_MAX],
    length: usize,
}

/// What a line may consist of.
pub trait Piece {
    /// Appends itself.
    fn append_to(&self, line: &mut Line);
}

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `KERN_ERR`.
    Error,
    /// `KERN_WARNING`.
    Warning,
    /// `KERN_INFO`.
    Info,
}

/// An address or a set of flags: hexadecimal, with `0x`.
#[derive(Clone, Copy, Debug)]
pub struct Hex(pub u64);

impl Line {
    /// An empty one.
    #[inline]
    pub fn new() -> Self {
        Self { bytes: [0; LINE_MAX], length: 0 }
    }

    /// Appends bytes, as far as there is room.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let next = self.length.wrapping_add(1);
            if next >= LINE_MAX {
                return;
            }
            if let Some(place) = self.bytes.get_mut(self.length) {
                *place = *byte;
            }
            self.length = next;
        }
    }

    /// Appends a piece; returns the line, so that calls can follow each other.
    #[inline]
    pub fn piece(mut self, piece: &(impl Piece + ?Sized)) -> Self {
        piece.append_to(&mut self);
        self
    }

    /// Writes the line to the log, behind the module's name.
    #[inline]
    pub fn print(&self, level: Level) {
        // SAFETY: The last byte is never written, so there is a NUL.
        unsafe { glue::kpatch_glue_print(level.number(), self.bytes.as_ptr().cast()) };
    }

    /// What there is so far.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }

    /// The digits of a number.
    #[inline]
    fn number(&mut self, mut value: u64, base: u64) {
        let mut digits = [0; 20];
        let mut count: usize = 0;
        for digit in digits.iter_mut().rev() {
            let last = value.checked_rem(base).unwrap_or(0) as u8;
            *digit = if last < 10 {
                b'0'.wrapping_add(last)
            } else {
                b'a'.wrapping_add(last).wrapping_sub(10)
            };
            value = value.checked_div(base).unwrap_or(0);
            count = count.wrapping_add(1);
            if value == 0 {
                break;
            }
        }
        let first = digits.len().wrapping_sub(count);
        self.bytes(digits.get(first..).unwrap_or(&[]));
    }
}

impl Default for Line {
    #[inline]
    fn default() -> Self {
        Self::new()
    }
}

impl Level {
    #[inline]
    fn number(self) -> c_int {
        match self {
            Self::Error => 3,
            Self::Warning => 4,
            Self::Info => 6,
        }
    }
}

impl Piece for str {
    #[inline]
    fn append_to(&self, line: &mut Line) {
        line.bytes(self.as_bytes());
    }
}

impl Piece for CStr {
    #[inline]
    fn append_to(&self, line: &mut Line) {
        line.bytes(self.to_bytes());
    }
}

impl<T: Piece + ?Sized> Piece for &T {
    #[inline]
    fn append_to(&self, line: &mut Line) {
        (**self).append_to(line);
    }
}

impl Piece for Hex {
    #[inline]
    fn append_to(&self, line: &mut Line) {
        line.bytes(b"0x");
        line.number(self.0, 16);
    }
}

impl Piece for i64 {
    #[inline]
    fn append_to(&self, line: &mut Line) {
        if *self < 0 {
            line.bytes(b"-");
        }
        line.number(self.unsigned_abs(), 10);
    }
}

impl Piece for i32 {
    #[inline]
    fn append_to(&self, line: &mut Line) {
        i64::from(*self).append_to(line);
    }
}

impl Piece for u32 {
    #[inline]
    fn append_to(&self, line: &mut Line) {
        line.number(u64::from(*self), 10);
    }
}

impl Piece for u64 {
    #[inline]
    fn append_to(&self, line: &mut Line) {
        line.number(*self, 10);
    }
}

impl Piece for usize {
    #[inline]
    fn append_to(&self, line: &mut Line) {
        line.number(*self as u64, 10);
    }
}

/// Writes a line to the kernel's log, with level `Info`: its pieces, one behind the other.
#[macro_export]
macro_rules! info {
    ($($piece:expr),+ $(,)?) => {
        $crate::author::print::Line::new()$(.piece(&$piece))+.print($crate::author::print::Level::Info)
    };
}

/// As [`info!`](crate::info), with level `Warning`.
#[macro_export]
macro_rules! warning {
    ($($piece:expr),+ $(,)?) => {
        $crate::author::print::Line::new()$(.piece(&$piece))+.print($crate::author::print::Level::Warning)
    };
}

/// As [`info!`](crate::info), with level `Error`.
#[macro_export]
macro_rules! error {
    ($($piece:expr),+ $(,)?) => {
        $crate::author::print::Line::new()$(.piece(&$piece))+.print($crate::author::print::Level::Error)
    };
}
