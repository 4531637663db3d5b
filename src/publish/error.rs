// SPDX-License-Identifier: MIT OR Apache-2.0

//! Why an image could not be made, moved or opened.

use std::io;
use std::path::{Path, PathBuf};

use crate::codes;
use flipside_core::blob_source::FetchError;
use flipside_core::cancel::Stopped;
use flipside_core::install::InstallError;
use flipside_image::code::{Code, Coded};
use flipside_image::delta::DeltaFlaw;
use flipside_image::document::DocumentError;
use flipside_image::pe::Flaw;
use flipside_image::{ImageError, Unbootable};
use flipside_source::SourceError;

/// Why publishing failed.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The image is wrong, or would be.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A source did not give what it was asked for.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A blob did not come.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A payload could not be taken out of the image.
    #[error(transparent)]
    Extract(#[from] InstallError),
    /// The run was asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The file system's error.
    #[error("cannot {operation} {}: {source}", path.display())]
    File {
        /// What was tried: `read`, `write`, ...
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A payload that is neither a regular file nor a block device.
    #[error("payload {name} cannot be read: {} is neither a regular file nor a block device", path.display())]
    PayloadUnreadable {
        /// The payload.
        name: String,
        /// Its file.
        path: PathBuf,
    },
    /// A payload that was written to, or cut off, while it was read.
    #[error("payload {name} changed while it was read from {}", path.display())]
    PayloadChanged {
        /// The payload.
        name: String,
        /// Its file.
        path: PathBuf,
    },
    /// A payload that the image does not have.
    #[error("the image has no payload {name:?}; it has {}", present.join(", "))]
    PayloadUnknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        present: Vec<String>,
    },
    /// A payload without which no host could boot the image.
    #[error("no host could boot the image: it has no payload {name} (`--payload {name}=FILE`)")]
    PayloadMissing {
        /// Its name.
        name: &'static str,
    },
    /// What was asked for makes no image.
    #[error("no image can be built: {what}")]
    PlanInvalid {
        /// The reason.
        what: String,
    },
    /// An image that no host could boot.
    #[error("{0}")]
    Unbootable(#[from] Unbootable),
    /// A boot file that no firmware would start.
    #[error("{} cannot be booted: {flaw}", path.display())]
    BootFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        flaw: Flaw,
    },
    /// A root file system that no host could boot, or that cannot be put into an image.
    #[error("the root file system makes no image: {0}")]
    Tree(String),
    /// A container image that cannot be read as one.
    #[error("the container image cannot be used: {0}")]
    Container(String),
    /// A part of a boot file that cannot be used.
    #[error("no boot file can be made of {}: {what}", path.display())]
    Uki {
        /// The part.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A program that is not installed.
    #[error("{program} is not installed here (package {package})")]
    ToolMissing {
        /// The program.
        program: &'static str,
        /// The package that has it.
        package: &'static str,
    },
    /// A program that ended with an error.
    #[error("{program} has failed: {what}")]
    Tool {
        /// The program.
        program: &'static str,
        /// Its last line.
        what: String,
    },
    /// An os-release file that does not tell what an image needs.
    #[error("{} does not describe the OS: {what}", path.display())]
    OsRelease {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A product-info file that cannot be used.
    #[error("{} is not a valid product-info file: {what}", path.display())]
    ProductInfo {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// An output that stands there and is not ours to replace.
    #[error("{} is not overwritten: {what}", path.display())]
    OutputExists {
        /// The output.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A policy document that no host would go by.
    #[error(transparent)]
    Policy(#[from] DocumentError),
    /// A policy document that would not do what it is made for.
    #[error("the policy document is left as it is: {what}")]
    PolicyInvalid {
        /// The reason.
        what: String,
    },
    /// A private key that cannot be used.
    #[error("cannot sign with {}: {reason}", path.display())]
    SigningKey {
        /// The file.
        path: PathBuf,
        /// Why not; never what it holds.
        reason: String,
    },
    /// What cannot be signed, or where no signature can be put.
    #[error("nothing is signed: {what}")]
    Sign {
        /// The reason.
        what: String,
    },
    /// There is nothing between two images that a delta could make.
    #[error("no delta is made: both images have the content of version {version}")]
    DeltaOfSame {
        /// The version of the new one.
        version: String,
    },
    /// A delta that cannot be made, or cannot be used.
    #[error("no delta is made: {what}")]
    Delta {
        /// The reason.
        what: String,
    },
    /// A delta that would save too little.
    #[error(
        "no delta from {from} is published: hosts would still fetch {} % of the image, and more than \
         60 % is not worth it",
        percentage(*fetch, *full)
    )]
    DeltaTooLarge {
        /// The version that it is from.
        from: String,
        /// What hosts would fetch with it, in bytes.
        fetch: u64,
        /// What they fetch without it, in bytes.
        full: u64,
    },
    /// A directory that is no OCI layout of the version flipside knows.
    #[error("{} is not a usable OCI layout: {what}", path.display())]
    LayoutInvalid {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl PublishError {
    /// For `map_err` on file operations.
    pub fn file(operation: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::File { operation, path, source }
    }
}

/// `part` of `whole` in per cent, rounded up.
fn percentage(part: u64, whole: u64) -> u128 {
    (u128::from(part) * 100).div_ceil(u128::from(whole.max(1)))
}

impl From<DeltaFlaw> for PublishError {
    fn from(DeltaFlaw(what): DeltaFlaw) -> Self {
        Self::Delta { what }
    }
}

impl Coded for PublishError {
    fn code(&self) -> Code {
        match self {
            Self::Image(error) => error.code(),
            Self::Source(error) => error.code(),
            Self::Fetch(error) => error.code(),
            Self::Extract(error) => error.code(),
            Self::Stopped(_) => codes::STOPPED,
            Self::File { .. } => codes::IO_FAILED,
            Self::PayloadUnreadable { .. }
            | Self::PayloadUnknown { .. }
            | Self::PlanInvalid { .. } => codes::ARGUMENT_INVALID,
            Self::PayloadChanged { .. } => codes::PAYLOAD_CHANGED,
            Self::Unbootable(error) => error.code(),
            Self::BootFile { .. } | Self::Uki { .. } => codes::BOOT_FILE_INVALID,
            Self::Tree(_) | Self::Container(_) => codes::TREE_UNUSABLE,
            Self::ToolMissing { .. } | Self::Tool { .. } => codes::TOOL_FAILED,
            Self::PayloadMissing { .. } => codes::PAYLOAD_MISSING,
            Self::OsRelease { .. } | Self::ProductInfo { .. } => codes::PRODUCT_INFO_INVALID,
            Self::OutputExists { .. } => codes::OUTPUT_EXISTS,
            Self::Policy(error) => error.code(),
            Self::PolicyInvalid { .. } => codes::POLICY_CHANGE_INVALID,
            Self::SigningKey { .. } => codes::SIGNING_KEY_UNUSABLE,
            Self::Sign { .. } => codes::SIGNING_FAILED,
            Self::Delta { .. } | Self::DeltaOfSame { .. } => codes::ARGUMENT_INVALID,
            Self::DeltaTooLarge { .. } => codes::DELTA_TOO_LARGE,
            Self::LayoutInvalid { .. } => codes::LAYOUT_INVALID,
        }
    }
}
