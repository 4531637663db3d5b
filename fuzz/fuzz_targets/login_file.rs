// SPDX-License-Identifier: MIT OR Apache-2.0

//! Login files, as containers' tools and Docker write them.

#![no_main]

use flipside_source::testing::login_file;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for (host, repository) in [("r.example:5000", "a/b"), ("docker.io", "library/a")] {
        let _ = login_file(bytes, host, repository);
    }
});
