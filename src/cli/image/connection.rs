// SPDX-License-Identifier: MIT OR Apache-2.0

//! How the builder's commands reach registries: by options, since a builder's machine has
//! no flipside configuration.

use std::path::PathBuf;

use clap::Args as _;

use super::super::Failure;
use flipside_core::cancel::Cancel;
use flipside_core::host::Root;
use flipside_image::Architecture;
use flipside_publish::os_release::architecture;
use flipside_source::{self as source, Location, Options, Source};

/// Options of every command that may speak to a registry.
#[derive(Debug, Default, clap::Args)]
pub(in crate::cli) struct Connection {
    /// Use plain HTTP, without TLS, for every registry.
    #[arg(long)]
    plain_http: bool,
    /// Also trust the certificate authorities in this PEM file; may be repeated.
    #[arg(long, value_name = "FILE")]
    ca: Vec<PathBuf>,
    /// Use the client certificate in this PEM file, for mutual TLS.
    #[arg(long, value_name = "FILE", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// The private key of --client-cert, a PEM file.
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
    /// Take credentials from this file instead of the usual ones.
    #[arg(long, value_name = "FILE")]
    auth_file: Option<PathBuf>,
    /// Let this token service (`host[:port]`) have the registry's credentials; may be repeated.
    #[arg(long = "token-realm", value_name = "HOST")]
    token_realms: Vec<String>,
}

impl Connection {
    /// The files are relative to the working directory, whatever `--root` is.
    pub(in crate::cli) fn options(self, stop: &Cancel) -> Options {
        let path = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        Options {
            all_plain_http: self.plain_http,
            ca: self.ca.into_iter().map(path).collect(),
            client_cert: self.client_cert.map(path),
            client_key: self.client_key.map(path),
            auth_file: self.auth_file.map(path),
            token_realms: self.token_realms,
            ..Options::new(Root::live(), stop.clone())
        }
    }

    pub(in crate::cli) fn open(
        self,
        image: &Location,
        stop: &Cancel,
    ) -> Result<Box<dyn Source>, Failure> {
        Ok(source::open(image, &self.options(stop))?)
    }

    /// `failure` for a person who gave options: what is `track.ca` on a host is `--ca` here.
    pub(in crate::cli) fn explain(failure: Failure) -> Failure {
        let command = Self::augment_args(clap::Command::new(""));
        let option = |setting: &str| {
            let mut options = command.get_arguments();
            options.find(|option| option.get_id() == setting).and_then(clap::Arg::get_long)
        };
        let mut parts = failure.message.split("track.");
        let mut message = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let is_end = |c: char| c != '_' && !c.is_ascii_alphanumeric();
            let (setting, rest) = part.split_at(part.find(is_end).unwrap_or(part.len()));
            match option(setting).filter(|_| message.ends_with([' ', '('])) {
                Some(option) => message.push_str(&format!("--{option}{rest}")),
                None => message.push_str(&format!("track.{part}")),
            }
        }
        Failure { message, ..failure }
    }
}

/// For clap: a machine by any of its names.
pub(in crate::cli) fn parse_architecture(text: &str) -> Result<Architecture, String> {
    architecture(text).ok_or_else(|| "it is neither x86_64 nor aarch64".to_owned())
}
