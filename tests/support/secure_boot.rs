// SPDX-License-Identifier: MIT OR Apache-2.0

//! What firmware keeps for Secure Boot, and programs that other tools signed.

use std::path::{Path, PathBuf};

/// Types of lists (UEFI 2.10, section 32.4.1).
pub const X509: &str = "a159c0a5e494a74a87b5ab155c2bf072";
pub const IMAGE_SHA256: &str = "2616c4c14c509240aca941f936934328";
pub const TBS_SHA256: &str = "92a4d23bc0967940b420fcf98ef103ed";
/// One that nobody uses any more.
pub const SHA1: &str = "12a56c82100fc94ab187be01496631bd";

/// The vendor of `db` and `dbx`, and shim's.
const IMAGE_SECURITY: &str = "d719b2cb-3d3a-4596-a3bc-dad00e67656f";
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
const SHIM: &str = "605dab50-e046-4300-abb6-3dd810dd8b23";

/// A file of `tests/fixtures/secure-boot`.
pub fn fixture(name: &str) -> Vec<u8> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/secure-boot");
    std::fs::read(Path::new(directory).join(name)).unwrap()
}

pub fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// A list of one entry.
pub fn list(kind: &str, entry: &[u8]) -> Vec<u8> {
    let size = u32::try_from(16 + entry.len()).unwrap();
    let numbers = [28 + size, 0, size].map(u32::to_le_bytes).concat();
    [hex(kind), numbers, vec![7; 16], entry.to_vec()].concat()
}

/// A list with the certificate of this name.
pub fn certificate(name: &str) -> Vec<u8> {
    list(X509, &fixture(&format!("{name}.der")))
}

/// The file of a variable on the host in `root`; `vendor` of the variable's name.
fn variable(root: &Path, name: &str) -> PathBuf {
    let vendor = match name {
        "db" | "dbx" => IMAGE_SECURITY,
        "SecureBoot" | "SetupMode" => GLOBAL,
        _ => SHIM,
    };
    root.join(format!("sys/firmware/efi/efivars/{name}-{vendor}"))
}

/// Gives a variable this value. It outlasts a boot, which real firmware sees to by setting it anew.
pub fn set(root: &Path, name: &str, value: &[u8]) {
    std::fs::write(variable(root, name), [&[7, 0, 0, 0], value].concat()).unwrap();
}

/// Turns Secure Boot on, with these lists.
pub fn turn_on(root: &Path, db: &[u8], dbx: &[u8]) {
    for (name, value) in [("SecureBoot", &[1][..]), ("SetupMode", &[0]), ("db", db), ("dbx", dbx)] {
        set(root, name, value);
    }
}
