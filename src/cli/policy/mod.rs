// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside policy`.

use std::io::Read as _;
use std::path::Path;

use clap::Subcommand;

use super::image::connection::Connection;
use super::location::parse_image;
use super::signals::stop_on_signals;
use super::{Global, Result};
use flipside_image::document::{Draft, Level, SIZE_LIMIT};
use flipside_publish::PublishError;
use flipside_publish::policy::fetch;
use flipside_source::Options;

mod build;
mod lint;
mod push;
mod releases;
mod show;

/// Make, show, check and publish policy documents.
///
/// A policy document says which images hosts may install.
#[derive(Debug, Subcommand)]
pub enum Args {
    Build(Box<build::Args>),
    Lint(lint::Args),
    Push(Box<push::Args>),
    Show(show::Args),
}

/// Makes, checks and publishes policy documents.
///
/// # Errors
/// Those of the command.
pub fn run(args: Args, global: &Global) -> Result {
    let done = match args {
        Args::Build(args) => build::run(*args, global),
        Args::Lint(args) => lint::run(args, global),
        Args::Push(args) => push::run(*args, global),
        Args::Show(args) => show::run(args, global),
    };
    done.map_err(Connection::explain)
}

/// The bytes of a document: of a file, of stdin (`-`), or beside a tag.
fn read(document: &str, options: &Options) -> Result<Vec<u8>> {
    let file = Path::new(document);
    let is_file = document == "-" || file.is_file();
    if let Some(target) = parse_image(document).ok().filter(|_| !is_file) {
        return Ok(fetch(&target, options)?);
    }
    let mut bytes = Vec::new();
    let read = match document {
        "-" => std::io::stdin().lock().take(SIZE_LIMIT + 1).read_to_end(&mut bytes),
        _ => std::fs::File::open(file).and_then(|f| f.take(SIZE_LIMIT + 1).read_to_end(&mut bytes)),
    };
    read.map_err(PublishError::file("read", file))?;
    Ok(bytes)
}

/// What `lint` and `show` look at.
#[derive(Debug, clap::Args)]
struct DocumentArgs {
    /// The document: a file, `-` for stdin, or the one of a tag, in a registry or `[oci:]DIR:TAG`.
    #[arg(value_name = "FILE|REF")]
    document: String,
    #[command(flatten)]
    connection: Connection,
}

impl DocumentArgs {
    fn read(self) -> Result<Draft> {
        read_draft(&self.document, &self.connection.options(&stop_on_signals()?))
    }
}

fn read_draft(document: &str, options: &Options) -> Result<Draft> {
    Ok(Draft::parse(&read(document, options)?).map_err(PublishError::from)?)
}

/// Says on stderr what a publisher should look at again.
fn warn(draft: &Draft) {
    for finding in draft.lint().iter().filter(|finding| finding.level == Level::Warning) {
        tracing::warn!("{finding}");
    }
}

#[cfg(test)]
mod tests {
    use super::super::output::fitted;
    use flipside_image::Digest;
    use flipside_image::document::{DraftRelease, DraftRollout, Reason};
    use flipside_publish::policy::text;

    use super::*;

    #[test]
    fn a_document_fits_a_terminal_of_80_columns() {
        let start = "2026-11-10T00:00:00Z".parse().unwrap();
        let mut draft = Draft::new(start, start);
        for version in ["2026.11.1", &"2026.11.1+long".repeat(9)] {
            let mut release = DraftRelease::new(version, Digest::of(b"x"));
            release.rollout = Some(DraftRollout::new(start, 0.07, "240h"));
            release.barrier = Some(Reason::new("brings the key that signs the next ones"));
            release.withdrawn = Some(Reason::new("no sound on model 3 ".repeat(5)));
            draft.releases.push(release);
        }
        let text = text(&draft);
        assert!(text.lines().any(|line| line.len() > 80), "{text}");
        assert_eq!(fitted(&text, None), text);
        let shown = fitted(&text, Some(80));
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&shown), words(&text));
    }
}
