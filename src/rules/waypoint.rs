// SPDX-License-Identifier: MIT OR Apache-2.0

//! One image between this host and what the tag names.

use flipside_core::state::action::Action;
use flipside_core::state::host_state::HostState;
use flipside_image::{Digest, Image};
use flipside_source::{Source, SourceError};

/// What the tag names, or something on the way to it.
pub struct Waypoint {
    /// Where it is, where that is not where the tag is.
    pub(super) source: Option<Box<dyn Source>>,
    /// What is named there: the image, or an index that lists it.
    pub tagged: Digest,
    /// What to do about it on this host.
    pub action: Action,
    /// The image; `None` where nothing is to be fetched.
    pub image: Option<Image>,
    /// Nobody signed it: nothing more of it may be looked at.
    pub(super) is_closed: bool,
}

impl Waypoint {
    /// What the tag names, or the policy document in its place.
    pub(super) fn at_tag(tag: Digest, action: Action) -> Self {
        Self { source: None, tagged: tag, action, image: None, is_closed: false }
    }

    pub(super) fn on_the_way(source: Box<dyn Source>, tagged: Digest, action: Action) -> Self {
        Self { source: Some(source), tagged, action, image: None, is_closed: false }
    }

    /// Where it is, for a tag at `tagged`.
    pub fn source<'a>(&'a self, tagged: &'a dyn Source) -> &'a dyn Source {
        self.source.as_deref().unwrap_or(tagged)
    }

    /// The digest of the image, as far as that is known.
    pub fn digest(&self) -> Digest {
        self.image.as_ref().map_or(self.tagged, |image| image.digest)
    }

    /// Every digest of the image: what is named, and what of it is known besides. `host_state` tells
    /// what the target slot holds, where that is the image.
    pub(super) fn digests(&self, host_state: &HostState) -> Vec<Digest> {
        let image = self.image.as_ref().map(|image| image.digest);
        let mut digests: Vec<Digest> = [self.tagged].into_iter().chain(image).collect();
        if self.action == Action::Arm {
            digests.extend(host_state.target_slot().digests());
        }
        digests
    }

    /// Whether an image leads through it to something else.
    pub(super) fn is_on_the_way(&self) -> bool {
        self.source.is_some()
    }

    /// Whether it is anything that rules are asked about.
    pub(super) fn needs_approval(&self) -> bool {
        self.changes_host() || self.action == Action::Adopt
    }

    /// Whether it is adopted, and the way to the target release goes on behind it.
    pub fn is_adopted_on_the_way(&self, target: &Digest) -> bool {
        self.action == Action::Adopt && self.tagged != *target
    }

    /// Whether another OS would boot next.
    pub(super) fn changes_host(&self) -> bool {
        matches!(self.action, Action::Install | Action::Arm)
    }

    /// Whether it is on the way to something and runs already: it is below what was asked for, and
    /// does not become any higher.
    pub(super) fn is_back(&self) -> bool {
        self.is_on_the_way() && matches!(self.action, Action::UpToDate | Action::Unarm)
    }

    /// Whether something else is named there by now, where that is not where the tag is. A mirror
    /// is no witness of that.
    ///
    /// # Errors
    /// The source's.
    pub fn has_moved(&self) -> Result<bool, SourceError> {
        let Some(source) = &self.source else { return Ok(false) };
        let tagged = source.tagged()?;
        Ok(tagged.mirror.is_none() && tagged.digest != self.tagged)
    }
}
