//! The text of a kernel's symbol table, as `readelf -s --wide` prints it.

use std::fmt::Write;

/// A table of so many lines: a file with twenty local functions, then global ones, and so on.
pub(crate) fn text(lines: usize) -> String {
    let mut text =
        String::from("   Num:    Value          Size Type    Bind   Vis      Ndx Name\n");
    for number in 0..lines {
        let address = 0xffff_ffff_8100_0000_u64 + 16 * number as u64;
        let (kind, bind, index, name) = match number % 40 {
            0 => ("FILE", "LOCAL", "ABS", format!("file{number}.c")),
            1..=20 => ("FUNC", "LOCAL", "1", format!("local_function_{number}")),
            21..=25 => ("OBJECT", "LOCAL", "25", format!("variable.{number}")),
            _ => ("FUNC", "GLOBAL", "1", format!("global_function_{number}")),
        };
        let written = writeln!(
            text,
            "{number:>6}: {address:016x} {:>5} {kind:<7} {bind:<6} DEFAULT {index:>4} {name}",
            16
        );
        written.expect("a string takes everything");
    }
    text
}
