// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a registry answers for a tag. What is taken is written and read again the same.

#![no_main]

use flipside_image::{Architecture, Index, Manifest, ManifestOrIndex};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match ManifestOrIndex::parse(bytes) {
        Ok(ManifestOrIndex::Manifest(manifest)) => {
            let again = manifest.to_bytes().expect("it can be written");
            // Compact JSON may grow over the limit when it is indented.
            if let Ok(parsed) = Manifest::parse(&again) {
                assert_eq!(parsed, manifest);
            }
        }
        Ok(ManifestOrIndex::Index(index)) => {
            for architecture in Architecture::ALL {
                let _ = index.select(architecture);
            }
            let again = index.to_bytes().expect("it can be written");
            if let Ok(parsed) = Index::parse(&again) {
                assert_eq!(parsed, index);
            }
        }
        Err(_) => {}
    }
});
