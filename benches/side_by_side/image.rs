// SPDX-License-Identifier: MIT OR Apache-2.0

//! The image of a payload: made for the bed, and by a child whose time is measured.

use std::path::Path;

use flipside::report::progress::Silent;
use flipside_core::cancel::Cancel;
use flipside_image::{Image, ProductInfo};
use flipside_publish::build::{PayloadFile, Plan, build};

/// Builds the image of `payload` into the layout `output`.
pub fn build_image(payload: &Path, output: &Path) -> Image {
    let product_info = ProductInfo {
        id: "bench".to_owned(),
        name: "Bench".to_owned(),
        version: "1".to_owned(),
        variant: "x86_64".to_owned(),
        commit_hash: String::new(),
        commit_date: String::new(),
        build_tree_dirty: false,
        components: None,
    };
    let name = "system".parse().unwrap();
    let payloads = vec![PayloadFile { name, file: payload.to_owned(), partition: None }];
    let plan = Plan { allow_unbootable: true, ..Plan::new(product_info, payloads, output) };
    build(&plan, &Silent, &Cancel::new()).unwrap().image
}
