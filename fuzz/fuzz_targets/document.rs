// SPDX-License-Identifier: MIT OR Apache-2.0

//! Policy documents. What is taken is written and read again the same.

#![no_main]

use flipside_image::document::{Document, Draft};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(draft) = Draft::parse(bytes) else { return };
    let _ = draft.lint();
    let Ok(document) = Document::from_draft(&draft) else { return };
    let again = draft.to_bytes().expect("it can be written");
    // Laid out in lines it may grow over the limit.
    if let Ok(parsed) = Document::parse(&again) {
        assert_eq!(parsed, document);
    }
});
