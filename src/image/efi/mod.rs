// SPDX-License-Identifier: MIT OR Apache-2.0

//! What firmware keeps in variables (UEFI specification 2.10, chapters 3 and 10), as bytes: boot
//! entries and their order, the device paths in them, flipside's own entries, texts, and U-Boot's file
//! of variables.

pub mod boot_order;
pub mod device_path;
pub mod load_option;
pub mod short_form;
pub mod text;
pub mod var_file;
