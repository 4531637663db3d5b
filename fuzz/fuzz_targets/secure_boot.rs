// SPDX-License-Identifier: MIT OR Apache-2.0

//! A signed program, the firmware's lists and shim's, one behind the other. Nothing is accepted by
//! lists that are empty.

#![no_main]

use flipside_image::pe;
use flipside_image::secure_boot::{Firmware, Mode, ShimLists, is_shim};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<u8>, Vec<u8>, Option<Vec<u8>>)| {
    let (program, db, dbx, sbat_level) = input;
    let judge = |firmware: &Firmware| {
        let read = |to: &mut [u8], at: u64| pe::copy_from(&program, to, at);
        firmware.judge(program.len() as u64, &read)
    };
    let shim = sbat_level.map(|sbat_level| ShimLists {
        allowed: db.clone(),
        forbidden: dbx.clone(),
        sbat_level,
    });
    let is_empty = db.is_empty();
    let judged = judge(&Firmware { mode: Mode::On, db, dbx, shim });
    let _ = is_shim(&program);
    assert!(!is_empty || judged.is_ok_and(|judged| judged.accepted.is_none()));
});
