// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside image sign`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use super::super::location::parse_image;
use super::super::signals::stop_on_signals;
use super::super::{Failure, Global, print, print_json};
use super::connection::Connection;
use flipside_publish::PublishError;
use flipside_publish::sign::{PrivateKey, sign};
use flipside_source::{Location, Reference};

/// The most bytes of a key file; a key has 241.
const LIMIT: usize = 64 << 10;

/// Sign an image or a policy document for hosts that have the public key.
///
/// Makes signatures in both of cosign's forms, simple signing and a Sigstore bundle, and keeps
/// existing signatures. For an index, every image that it lists is signed as well. `flipside image
/// push` also pushes the signatures of a layout.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to sign, a registry reference or `[oci:]DIR[:TAG]`.
    #[arg(value_parser = parse_image)]
    image: Location,
    /// The private key: a PEM file as `flipside image key` or `openssl genpkey` makes it, ECDSA
    /// P-256 or Ed25519, not encrypted; `-` is stdin.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Sign for this repository, `HOST/REPOSITORY` [default: the image's own].
    #[arg(long, value_name = "REPOSITORY")]
    identity: Option<Reference>,
    #[command(flatten)]
    connection: Connection,
}

/// Signs.
///
/// # Errors
/// The key's, the source's, and those of [`sign`].
pub fn run(args: Args, global: &Global) -> super::super::Result {
    let key = read(&args.key)?;
    let options = args.connection.options(&stop_on_signals()?);
    let signed = sign(&args.image, args.identity.as_ref(), &key, &options)?;
    if global.json {
        print_json(&json!({ "signed": signed, "key": key.public().hint() }))?;
    } else {
        let lines: Vec<_> = signed.iter().map(|digest| format!("signed {digest}")).collect();
        print(lines.join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<PrivateKey, Failure> {
    use std::io::Read as _;
    let unusable = |reason| PublishError::SigningKey { path: path.to_owned(), reason };
    let mut text = Vec::new();
    let limit = LIMIT as u64;
    let read = match path.to_str() {
        Some("-") => std::io::stdin().take(limit).read_to_end(&mut text),
        _ => std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut text)),
    };
    read.map_err(|error| unusable(error.to_string()))?;
    Ok(PrivateKey::from_pem(&text).map_err(unusable)?)
}
