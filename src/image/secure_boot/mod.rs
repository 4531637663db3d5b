// SPDX-License-Identifier: MIT OR Apache-2.0

//! Would the firmware start a program, where Secure Boot is on (UEFI 2.10, sections 32.4 and 32.5)?
//!
//! The rules are those of EDK II (`DxeImageVerificationHandler` in SecurityPkg/Library/
//! DxeImageVerificationLib): one accepted signature suffices, or the image's hash in `db`. One hit in
//! `dbx` forbids it, whatever else is there. Validity dates and extended key usages are ignored.
//!
//! - `program`: what of a PE file is hashed, and where its signatures are
//! - `signed_data`: a signature, in PKCS #7; `certificate`: X.509; `chain`: from a signature to a
//!   certificate that is trusted; `algorithm`: what is verified here
//! - `signature_list`: the firmware's lists; `sbat`: generations of components, which shim asks for
//! - `judgement`: all of it together

mod algorithm;
mod certificate;
mod chain;
mod judgement;
mod program;
mod sbat;
mod signature_list;
mod signed_data;

pub use judgement::{Firmware, Judgement, Mode, ShimLists};
pub use sbat::is_shim;

#[cfg(test)]
mod tests;
