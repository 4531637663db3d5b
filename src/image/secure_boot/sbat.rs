// SPDX-License-Identifier: MIT OR Apache-2.0

//! SBAT: generations of components, by which shim refuses those with known holes
//! (<https://github.com/rhboot/shim/blob/main/SBAT.md>). Lines of comma separated values: a component
//! and its generation, then what is for people.

use std::io;

use super::program::{Read, section};
use crate::pe;

/// The components in a section `.sbat`, or in shim's `SbatLevelRT`, with their generations.
pub(super) fn components(text: &[u8]) -> Vec<(String, u32)> {
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    let text = String::from_utf8_lossy(text.get(..end).unwrap_or_default()).into_owned();
    let component = |line: &str| {
        let (name, rest) = line.split_once(',')?;
        let generation = rest.split(',').next()?.trim().parse().ok()?;
        Some((name.trim().to_owned(), generation))
    };
    text.lines().filter_map(component).collect()
}

/// Why shim refuses a program with these components at this level; `None` where it does not. A
/// component that the level does not name is of no matter.
pub(super) fn refusal(program: &[(String, u32)], level: &[(String, u32)]) -> Option<String> {
    let too_old = |(name, generation): &(String, u32)| {
        let (_, least) = level.iter().find(|(known, _)| known == name)?;
        (generation < least).then(|| {
            format!("SbatLevelRT asks for {name} {least}, and it has generation {generation}")
        })
    };
    program.iter().find_map(too_old)
}

/// Whether a program is shim, which says so in its section `.sbat`.
pub fn is_shim(program: &[u8]) -> bool {
    let read = |to: &mut [u8], at: u64| pe::copy_from(program, to, at);
    of_program(&read).is_ok_and(|found| found.iter().any(|(name, _)| name == "shim"))
}

/// The components of a program; none where it says none.
///
/// # Errors
/// Those of `read`.
pub(super) fn of_program(read: Read<'_>) -> io::Result<Vec<(String, u32)>> {
    Ok(section(read, ".sbat")?.map_or_else(Vec::new, |text| components(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(found: &[(&str, u32)]) -> Vec<(String, u32)> {
        found.iter().map(|(name, generation)| ((*name).to_owned(), *generation)).collect()
    }

    #[test]
    fn lines_have_a_component_and_a_generation() {
        for (text, expected) in [
            ("sbat,1,2021030218\nshim,4\n", &[("sbat", 1), ("shim", 4)][..]),
            (
                "sbat,1,SBAT Version,sbat,1,https://example.org\r\nsystemd,1,x\r\n\0\0junk,9\n",
                &[("sbat", 1), ("systemd", 1)],
            ),
            ("no number,x\nnothing\n,\n", &[]),
            ("", &[]),
        ] {
            assert_eq!(components(text.as_bytes()), list(expected), "{text:?}");
        }
    }

    #[test]
    fn what_is_older_than_the_level_is_refused() {
        for (program, level, is_refused) in [
            (&[("systemd", 1)][..], &[("systemd", 1)][..], false),
            (&[("systemd", 1)], &[("systemd", 2)], true),
            (&[("systemd", 3)], &[("systemd", 2)], false),
            (&[("sbat", 1), ("systemd.debian", 1)], &[("sbat", 1), ("systemd.debian", 2)], true),
            (&[("systemd", 1)], &[("shim", 2)], false),
            (&[("systemd", 1)], &[], false),
            (&[], &[("systemd", 2)], false),
        ] {
            let refusal = refusal(&list(program), &list(level));
            assert_eq!(refusal.is_some(), is_refused, "{program:?} {level:?} {refusal:?}");
        }
    }
}
