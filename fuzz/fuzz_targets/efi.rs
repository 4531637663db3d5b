// SPDX-License-Identifier: MIT OR Apache-2.0

//! What firmware and boot loaders leave in EFI variables. What both readings confirm is what the
//! first one found.

#![no_main]

use flipside_core::host::efi::{BootNumber, BootOrder};
use flipside_image::efi::device_path::{self, Target};
use flipside_image::efi::{load_option::LoadOption, short_form};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let order = BootOrder::parse(bytes);
    assert_eq!(BootOrder::parse(&order.to_data()).numbers(), order.numbers());
    if let Some(number) = BootNumber::from_data(bytes) {
        assert_eq!(number.to_data(), bytes);
    }
    let _ = device_path::target(bytes);
    let Some(option) = LoadOption::parse(bytes) else { return };
    let _ = (option.is_bootable(), option.has_command_line());
    let target = device_path::target(&option.path);
    if let Some((partition, file)) = short_form::confirmed(bytes) {
        assert_eq!(target, Target::Partition { partition, file: Some(file) });
    }
});
