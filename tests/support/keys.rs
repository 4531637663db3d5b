// SPDX-License-Identifier: MIT OR Apache-2.0

//! Keys of a host, and who verifies with them.

use std::path::Path;

use flipside::config::Config;
use flipside::config::form::Address;
use flipside::error::Error;
use flipside::rules::signature;
use flipside_core::host::Root;
use flipside_image::signature::Verifier;
use flipside_publish::sign::{KeyKind, PrivateKey};

/// A new key.
pub fn new_key() -> PrivateKey {
    PrivateKey::generate(KeyKind::EcdsaP256).unwrap()
}

/// Puts a file among the keys of the host below `root`, `etc/NAME.pub` or `usr/lib/NAME.pub`.
pub fn install(root: &Path, place: &str, text: impl AsRef<[u8]>) {
    let (level, name) = place.rsplit_once('/').unwrap();
    let directory = root.join(level).join("flipside/keys");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join(name), text).unwrap();
}

/// A host with these keys, `a`, `b` and so on, that follows `image`.
pub fn verifier(keys: &[&str], image: &str, change: impl Fn(&mut Config)) -> Verifier {
    let root = tempfile::tempdir().unwrap();
    for (key, name) in keys.iter().zip('a'..) {
        install(root.path(), &format!("etc/{name}.pub"), key);
    }
    opened(root.path(), |config| {
        config.track.image = Some(Address(image.to_owned()));
        change(config);
    })
    .unwrap()
}

/// The verifier of the host below `root`.
pub fn opened(root: &Path, change: impl Fn(&mut Config)) -> Result<Verifier, Error> {
    let mut config = Config::default();
    change(&mut config);
    signature::open(&Root::new(root), &config)
}
