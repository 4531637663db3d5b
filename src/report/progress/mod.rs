// SPDX-License-Identifier: MIT OR Apache-2.0

//! The progress of a run, shown to people and programs.

mod json;
mod lines;
mod run;
mod summary;
mod tally;
mod terminal;

pub use json::Json;
pub use lines::Lines;
pub use run::RunProgress;
pub use summary::Summary;
pub use tally::Tally;
pub use terminal::{Terminal, beside_bars};

pub use flipside_core::progress::{Event, Phase, Progress, Silent};

/// Tells several.
pub struct Tee(pub Vec<std::sync::Arc<dyn Progress>>);

impl Progress for Tee {
    fn event(&self, event: Event) {
        for progress in &self.0 {
            progress.event(event.clone());
        }
    }
}

/// A number of bytes for people, in units of 1024: `31.0 MiB`.
pub fn bytes(count: u64) -> String {
    let mut tenths = u128::from(count) * 10;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    if count < 1024 {
        return format!("{count} {unit}");
    }
    for next in units {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = next;
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_counts() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (31 << 20, "31.0 MiB"),
            ((592 << 20) + (512 << 10), "592.5 MiB"),
            (u64::MAX, "16383.9 PiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}
