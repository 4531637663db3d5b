// SPDX-License-Identifier: MIT OR Apache-2.0

//! Deltas on their way to where hosts find them.

use std::path::Path;

use flipside_core::progress::{Event, Phase, Progress};
use flipside_source::{Options, Reference, Repository};

use super::super::layout::LayoutWriter;
use super::super::{PublishError, second_reading};
use super::listed::{ListedDelta, list};
use super::make::{MadeDelta, make};
use super::opened::OpenedImage;
use super::registry::send;
use super::run::{DeltaSettings, temporary_directory};

/// Where a delta is put.
#[derive(Debug, Clone, Copy)]
pub enum DeltaTarget<'a> {
    /// Beside the new image in the repository of this reference.
    Registry(&'a Reference),
    /// In this layout directory, which is made where there is none.
    Layout(&'a Path),
}

/// Makes the delta from the image `from` to the image `to`, and puts it to `target`.
///
/// # Errors
/// [`PublishError`]: `delta-too-large`; `argument-invalid` for images of the same content;
/// `wrong-architecture`; what the sources and the target can end in.
pub fn publish(
    from: &OpenedImage,
    to: &OpenedImage,
    target: DeltaTarget<'_>,
    settings: DeltaSettings,
    options: &Options,
    progress: &dyn Progress,
) -> Result<MadeDelta, PublishError> {
    let made = match target {
        DeltaTarget::Layout(directory) => {
            let layout = LayoutWriter::open(directory)?;
            let made = make(from, to, &layout, settings, progress, &options.stop)?;
            list(&layout, &made.manifest, &made.to)?;
            made
        }
        DeltaTarget::Registry(reference) => {
            second_reading::check_name(reference).map_err(flipside_source::SourceError::from)?;
            let repository = Repository::new(reference, options)?;
            make_and_send(from, to, &repository, reference, settings, options, progress)?
        }
    };
    progress.event(Event::Phase(Phase::Done));
    Ok(made)
}

/// The same for a repository that is pushed to.
pub(in super::super) fn make_and_send(
    from: &OpenedImage,
    to: &OpenedImage,
    repository: &Repository,
    reference: &Reference,
    settings: DeltaSettings,
    options: &Options,
    progress: &dyn Progress,
) -> Result<MadeDelta, PublishError> {
    let directory = temporary_directory()?;
    let layout = LayoutWriter::open(directory.path())?;
    let made = make(from, to, &layout, settings, progress, &options.stop)?;
    let delta = ListedDelta::read(directory.path(), &made.manifest.digest)?;
    send(directory.path(), &delta, repository, reference, options, progress)?;
    Ok(made)
}
