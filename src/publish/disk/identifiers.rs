// SPDX-License-Identifier: MIT OR Apache-2.0

//! The disk's GUIDs and the ESP's volume ID: random, or made from a seed.

use flipside_image::Hasher;
use uuid::{Builder, Uuid};

/// Gives each thing on the disk an identifier by the thing's name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identifiers {
    seed: Option<u64>,
}

impl Identifiers {
    pub(super) fn new(seed: Option<u64>) -> Self {
        Self { seed }
    }

    /// A GUID of version 4 (RFC 9562, section 5.4), under a seed by its form only.
    pub(super) fn uuid(&self, name: &str) -> Uuid {
        match self.seed {
            None => Uuid::new_v4(),
            Some(seed) => {
                let mut hasher = Hasher::new();
                hasher.update(b"flipside disk build\0");
                hasher.update(&seed.to_le_bytes());
                hasher.update(name.as_bytes());
                Builder::from_random_bytes(first_half(hasher.finish().as_bytes())).into_uuid()
            }
        }
    }

    /// A FAT volume ID.
    pub(super) fn volume_id(&self) -> u32 {
        self.uuid("volume id").as_fields().0
    }
}

fn first_half(bytes: &[u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    for (to, from) in half.iter_mut().zip(bytes) {
        *to = *from;
    }
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_identifiers_again_and_each_thing_its_own() {
        let seeded = Identifiers::new(Some(7));
        assert_eq!(seeded.uuid("esp"), Identifiers::new(Some(7)).uuid("esp"));
        assert_ne!(seeded.uuid("esp"), seeded.uuid("data"));
        assert_ne!(seeded.uuid("esp"), Identifiers::new(Some(8)).uuid("esp"));
        assert_eq!(seeded.uuid("esp").get_version_num(), 4);
        assert_eq!(seeded.volume_id(), Identifiers::new(Some(7)).volume_id());
    }

    #[test]
    fn without_a_seed_nothing_repeats() {
        let random = Identifiers::new(None);
        assert_ne!(random.uuid("esp"), random.uuid("esp"));
    }
}
