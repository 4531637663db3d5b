// SPDX-License-Identifier: MIT OR Apache-2.0

//! The images that are measured: a pair of payloads, and both as images in the registry.

use crate::bed::{Bed, Image};
use crate::pair::Pair;

pub struct Subject {
    pub pair: Pair,
    pub old: Image,
    pub new: Image,
}

impl Subject {
    pub fn publish(bed: &Bed, pair: Pair) -> Self {
        let tag = |version: &str| {
            let name = pair.name.replace([',', '/', ' '], "-");
            format!("{}-{version}", name.trim_matches('-'))
        };
        let old = bed.publish(&tag("1"), "1", &pair.old, &[]);
        let new = bed.publish(&tag("2"), "2", &pair.new, &[]);
        Self { pair, old, new }
    }
}
