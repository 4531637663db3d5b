// SPDX-License-Identifier: MIT OR Apache-2.0

//! Key files. What is taken is written and read again the same.

#![no_main]

use flipside_image::signature::PublicKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(key) = PublicKey::from_pem(bytes) {
        let again = PublicKey::from_pem(key.to_pem().as_bytes()).expect("it was written");
        assert_eq!(again.hint(), key.hint());
    }
    let _ = PublicKey::from_der(bytes);
});
