// SPDX-License-Identifier: MIT OR Apache-2.0

//! What registries and token services answer: a status, then headers, and behind an empty line the
//! body.

#![no_main]

use flipside_source::testing::answer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((status, rest)) = bytes.split_first_chunk::<2>() else { return };
    let end = rest.windows(2).position(|two| two == b"\n\n").unwrap_or(rest.len());
    let (head, body) = rest.split_at(end);
    let said = answer(u16::from_le_bytes(*status), head, body.get(2..).unwrap_or_default());
    // It is shown to people.
    assert!(said.len() < 250 && !said.contains(char::is_control), "{said:?}");
});
