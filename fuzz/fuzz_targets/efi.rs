// SPDX-License-Identifier: MIT OR Apache-2.0

//! What firmware and boot loaders leave in EFI variables. What is understood is written again the
//! same.

#![no_main]

use flipside_core::host::efi::{BootNumber, BootOrder};
use flipside_image::efi::{device_path, load_option::LoadOption};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let order = BootOrder::parse(bytes);
    assert_eq!(BootOrder::parse(&order.to_data()).numbers(), order.numbers());
    if let Some(number) = BootNumber::from_data(bytes) {
        assert_eq!(number.to_data(), bytes);
    }
    let _ = device_path::target(bytes);
    let Some(option) = LoadOption::parse(bytes) else { return };
    let _ = (option.is_bootable(), option.has_command_line(), device_path::target(&option.path));
    let again = LoadOption::parse(&option.to_data()).expect("what was written can be read");
    assert_eq!((again.attributes, &again.path), (option.attributes, &option.path));
});
