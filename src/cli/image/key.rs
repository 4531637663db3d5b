// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside image key`.

use std::fs::{OpenOptions, remove_file};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::json;

use super::super::{Failure, Global, print, print_json};
use flipside_publish::PublishError;
use flipside_publish::sign::{KeyKind, PrivateKey};

/// Make a key pair for signing images.
///
/// NAME.key is the private key, for `flipside image sign`. It is not encrypted, and only you can
/// read it. NAME.pub is the public key. Put it into `/usr/lib/flipside/keys` or
/// `/etc/flipside/keys` on hosts.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name of both files, without the suffix.
    name: PathBuf,
    /// The kind of key.
    #[arg(long = "type", value_name = "TYPE", value_enum, default_value = "ecdsa-p256")]
    kind: Kind,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// ECDSA with P-256 and SHA-256, as cosign makes.
    EcdsaP256,
    /// Ed25519.
    Ed25519,
}

/// Makes two files.
///
/// # Errors
/// `output-exists`, and what writing fails with.
pub fn run(args: &Args, global: &Global) -> super::super::Result {
    let key = PrivateKey::generate(match args.kind {
        Kind::EcdsaP256 => KeyKind::EcdsaP256,
        Kind::Ed25519 => KeyKind::Ed25519,
    });
    let failed = |what| PublishError::Sign { what };
    let key = key.map_err(failed)?;
    let private = with_ending(&args.name, ".key");
    let public = with_ending(&args.name, ".pub");
    write(&private, 0o600, &key.to_pem().map_err(failed)?)?;
    if let Err(error) = write(&public, 0o644, &key.public().to_pem()) {
        // Half a pair is no use, and in the way of the next try.
        let _ = remove_file(&private);
        return Err(error);
    }
    if global.json {
        print_json(&json!({ "private": private, "public": public }))?;
    } else {
        print(format!(
            "made {private}, to sign with: keep it secret and safe\n\
             made {public}, for /usr/lib/flipside/keys of images, or /etc/flipside/keys of a host",
            private = private.display(),
            public = public.display(),
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Names may have dots.
fn with_ending(name: &Path, ending: &str) -> PathBuf {
    let mut name = name.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// A new file; never one that stands there.
fn write(path: &Path, mode: u32, text: &str) -> Result<(), Failure> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = file.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            PublishError::OutputExists { path: path.to_owned(), what: "a key is not replaced" }
        }
        _ => PublishError::file("make", path)(error),
    })?;
    file.write_all(text.as_bytes()).map_err(PublishError::file("write", path))?;
    Ok(file.sync_all().map_err(PublishError::file("write", path))?)
}
