// SPDX-License-Identifier: MIT OR Apache-2.0

//! How a command ends that did not do what it was asked to.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use super::exit;
use flipside_core::refusal::Severity;
use flipside_image::code::{Coded, sentence};

/// What to tell the person, and which exit status to give (P11). Like
/// `anyhow::Error` it is no `std::error::Error` itself, so that `?` takes
/// every error that has a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The stable code.
    pub code: &'static str,
    /// How bad it is; decides the exit status.
    pub severity: Severity,
    /// One sentence, without the code.
    pub message: String,
}

impl Failure {
    /// An error: exit status 1.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, severity: Severity::Error, message: message.into() }
    }

    /// Refused until something changes: exit status 1.
    pub fn block(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, severity: Severity::Block, message: message.into() }
    }

    /// Not now: exit status 75.
    pub fn defer(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, severity: Severity::Defer, message: message.into() }
    }

    /// The same with another severity, for errors that only mean "not now".
    #[must_use]
    pub fn with_severity(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }

    /// An error whose type was erased. The code is that of the first error in the chain that has
    /// one.
    pub fn erased(error: impl Into<anyhow::Error>) -> Self {
        let error = error.into();
        let code = error.chain().find_map(code_of).unwrap_or("internal");
        Self::error(code, sentence(error.as_ref()))
    }

    /// The exit status.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.severity {
            Severity::Defer => exit::DEFERRED,
            Severity::Block | Severity::Error => exit::FAILED,
        })
    }
}

/// As people see it: `<sentence> [code]`.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.message, self.code)
    }
}

impl<E: Coded + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::error(error.code(), sentence(&error))
    }
}

/// The code of an error whose type was erased. A type that is missing here is
/// shown without its code, so every [`Coded`] type stands in this list.
fn code_of(error: &(dyn Error + 'static)) -> Option<&'static str> {
    macro_rules! first_of {
        ($($(#[$condition:meta])? $known:ty,)+) => {
            $($(#[$condition])?
            if let Some(error) = error.downcast_ref::<$known>() {
                return Some(error.code());
            })+
        };
    }
    first_of! {
        flipside_core::blob_source::FetchError,
        crate::config::ConfigError,
        crate::health::HealthError,
        flipside_core::host::HostError,
        flipside_core::host::boot::BootError,
        flipside_core::host::efi::EfiError,
        flipside_core::host::esp::EspError,
        flipside_core::host::kexec::KernelLoaded,
        flipside_core::host::boot::LoaderError,
        flipside_image::ImageError,
        flipside_core::install::InstallError,
        crate::config::overlay::Unreadable,
        flipside_image::document::DocumentError,
        crate::rules::signature::KeyError,
        #[cfg(feature = "publish")]
        flipside_publish::PublishError,
        #[cfg(feature = "publish")]
        flipside_publish::disk::DiskBuildError,
        crate::reboot::RebootError,
        crate::reboot::kexec::KexecError,
        crate::report::ReportError,
        #[cfg(feature = "dbus")]
        crate::report::dbus::ServiceError,
        #[cfg(feature = "sim")]
        flipside_sim::SimError,
        flipside_source::LocalError,
        flipside_source::ReferenceError,
        flipside_source::SourceError,
        crate::run::Error,
        flipside_core::Error,
        flipside_core::state::journal::JournalError,
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use flipside_image::{Digest, ImageError};
    use flipside_source::SourceError;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read it")]
    struct Outer(#[source] std::io::Error);

    impl Coded for Outer {
        fn code(&self) -> &'static str {
            "outer"
        }
    }

    #[test]
    fn causes_are_said_once_and_on_one_line() {
        let failure = Failure::from(Outer(std::io::Error::other("line one\nline two\x1b[31m")));
        assert_eq!(failure.to_string(), "cannot read it: line one line two [31m [outer]");
        let error = Digest::of(b"").check("manifest", b"x").unwrap_err();
        let text = error.to_string();
        assert_eq!(Failure::from(SourceError::Image(error)).message, text);
    }

    #[test]
    fn the_code_survives_erasure() {
        let coded = || ImageError::NotAnOsImage { what: "a chart".into() };
        for error in [
            anyhow::Error::from(coded()),
            anyhow::Error::from(SourceError::from(coded())).context("cannot build the disk"),
        ] {
            assert_eq!(Failure::erased(error).code, "not-an-os-image");
        }
        assert_eq!(Failure::erased(anyhow::anyhow!("oops")).code, "internal");
    }

    /// Reads the sources: nothing else knows every implementation of a trait.
    #[test]
    fn no_coded_error_is_missing_from_the_list() {
        fn sources(directory: &std::path::Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    sources(&path, found);
                } else {
                    found.push(std::fs::read_to_string(path).unwrap());
                }
            }
        }
        let mut files = Vec::new();
        let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        sources(&source, &mut files);
        let this = include_str!("failure.rs");
        for line in files.iter().flat_map(|file| file.lines()) {
            // Unindented: those of tests are not.
            let name = line.strip_prefix("impl ").and_then(|line| line.split_once("Coded for "));
            if let Some((_, name)) = name.filter(|(trait_path, _)| !trait_path.contains('<')) {
                let name = name.trim_end_matches(" {");
                assert!(this.contains(&format!("::{name},")), "{name}");
            }
        }
    }

    #[test]
    fn only_a_defer_is_temporary() {
        let of = |failure: Failure| format!("{:?}", failure.exit_code());
        assert_eq!(of(Failure::defer("c", "m")), format!("{:?}", ExitCode::from(75)));
        assert_eq!(of(Failure::block("c", "m")), format!("{:?}", ExitCode::from(1)));
        assert_eq!(of(Failure::error("c", "m")), format!("{:?}", ExitCode::from(1)));
    }
}
