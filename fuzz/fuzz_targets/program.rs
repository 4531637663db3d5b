// SPDX-License-Identifier: MIT OR Apache-2.0

//! An EFI program. What has no flaw is a program of the machine, and its sections are in the file.

#![no_main]

use flipside_image::{Architecture, pe};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (head, size) = (bytes.get(..pe::HEADER_LIMIT).unwrap_or(bytes), bytes.len() as u64);
    let read = |to: &mut [u8], at: u64| {
        let from = usize::try_from(at).ok().and_then(|at| bytes.get(at..)?.get(..to.len()));
        from.map(|from| to.copy_from_slice(from)).ok_or(std::io::ErrorKind::UnexpectedEof.into())
    };
    let sections = pe::sections(read).expect("memory can be read");
    for architecture in Architecture::ALL {
        if pe::check(head, size, architecture).is_ok() {
            assert!(pe::machine_of(bytes).expect("it is one").is(architecture));
            let sections = sections.as_ref().expect("it has sections");
            assert!(sections.iter().all(|one| one.range.is_empty() || one.range.end <= size));
        }
    }
});
