// SPDX-License-Identifier: MIT OR Apache-2.0

//! How the builder's commands reach registries: by options, since a builder's machine has
//! no flipside configuration.

use std::path::PathBuf;

use super::super::{Failure, Global};
use flipside_core::cancel::Cancel;
use flipside_image::Architecture;
use flipside_publish::os_release::architecture;
use flipside_source::{self as source, Location, Options, Source};

/// Options of every command that may speak to a registry.
#[derive(Debug, clap::Args)]
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
}

impl Connection {
    pub(in crate::cli) fn options(self, global: &Global, stop: &Cancel) -> Options {
        Options {
            all_plain_http: self.plain_http,
            ca: self.ca,
            client_cert: self.client_cert,
            client_key: self.client_key,
            auth_file: self.auth_file,
            ..Options::new(global.root.clone(), stop.clone())
        }
    }

    pub(in crate::cli) fn open(
        self,
        image: &Location,
        global: &Global,
        stop: &Cancel,
    ) -> Result<Box<dyn Source>, Failure> {
        Ok(source::open(image, &self.options(global, stop))?)
    }
}

/// For clap: a machine by any of its names.
pub(in crate::cli) fn parse_architecture(text: &str) -> Result<Architecture, String> {
    architecture(text).ok_or_else(|| "it is neither x86_64 nor aarch64".to_owned())
}
