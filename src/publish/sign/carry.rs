// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is signed of what a tag names, and signatures on their way with their images.

use flipside_image::signature::{Form, Verifier};
use flipside_image::{Descriptor, Digest, INDEX_TYPE, ImageError, Index, MANIFEST_TYPE};
use flipside_source::signatures::all;
use flipside_source::{Location, Options, Reference, Repository, Signature, Source, open};
use serde::Deserialize;

use super::super::PublishError;
use super::attach::Home;
use super::{PrivateKey, bundle, simple};

/// Signs what is at `location` for the repository `identity`, in both forms: of an index every
/// manifest that it lists as well, so that each stands for itself. What this key has signed is not
/// signed again. Returns what is signed now.
///
/// # Errors
/// [`PublishError`]: an archive, a layout without an identity, or who does not answer.
pub fn sign(
    location: &Location,
    identity: Option<&Reference>,
    key: &PrivateKey,
    options: &Options,
) -> Result<Vec<Digest>, PublishError> {
    let refused = |what: &str| PublishError::Sign { what: what.to_owned() };
    let pushed_to;
    let (home, repository) = match location {
        Location::Registry(reference) => {
            pushed_to = Repository::new(reference, options)?;
            (Home::Registry(&pushed_to, reference, options), Some(reference))
        }
        Location::Layout { directory, .. } => (Home::Layout(directory), None),
        Location::Archive { .. } => {
            return Err(refused("an archive is not written to; sign a layout or what is pushed"));
        }
    };
    let repository = identity.or(repository).ok_or_else(|| {
        refused(
            "a layout does not say where the image is going to be: name the repository \
                 with --identity",
        )
    })?;
    let source = open(location, options)?;
    let verifier = Verifier::of_key(key.public().clone(), repository.clone());
    let failed = |what| PublishError::Sign { what };
    let subjects = subjects(source.as_ref(), &source.resolve()?)?;
    for subject in &subjects {
        let present = all(source.as_ref(), &subject.digest)?;
        let forms = present.iter().filter_map(|one| verifier.check(&subject.digest, one).ok());
        let forms: Vec<Form> = forms.map(|signed| signed.form).collect();
        // Once is enough: ECDSA signatures differ each time, and would pile up.
        let mut new = Vec::new();
        if !forms.contains(&Form::SimpleSigning) {
            let identity = repository.full_repository();
            new.push(simple(key, &subject.digest, &identity).map_err(failed)?);
        }
        if !forms.contains(&Form::Bundle) {
            new.push(bundle(key, &subject.digest).map_err(failed)?);
        }
        home.attach(subject, &new)?;
    }
    Ok(subjects.iter().map(|subject| subject.digest).collect())
}

/// Signatures on their way with what they sign.
pub(crate) struct Signatures(Vec<(Descriptor, Vec<Signature>)>);

impl Signatures {
    /// Those of what `digest` names, and of what that lists.
    pub fn of(source: &dyn Source, digest: &Digest) -> Result<Self, PublishError> {
        let mut found = Vec::new();
        for subject in subjects(source, digest)? {
            let signatures = all(source, &subject.digest)?;
            found.push((subject, signatures));
        }
        Ok(Self(found))
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|(_, signatures)| signatures.is_empty())
    }

    /// Attaches them where what they sign is now.
    pub fn bring_to(&self, home: &Home<'_>) -> Result<(), PublishError> {
        for (subject, signatures) in &self.0 {
            home.attach(subject, signatures)?;
        }
        Ok(())
    }
}

/// What `digest` names: a manifest of any kind, or an index and the manifests that it lists.
fn subjects(source: &dyn Source, digest: &Digest) -> Result<Vec<Descriptor>, PublishError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Any {
        #[serde(default)]
        media_type: Option<String>,
        #[serde(default)]
        manifests: Option<serde::de::IgnoredAny>,
    }
    let bytes = source.manifest(digest)?;
    let any: Any = serde_json::from_slice(&bytes)
        .map_err(|source| ImageError::Json { object: "manifest", source })?;
    let media_type = any.media_type.unwrap_or_else(|| {
        let kind = if any.manifests.is_some() { INDEX_TYPE } else { MANIFEST_TYPE };
        kind.to_owned()
    });
    let size = bytes.len() as u64;
    let listed = match any.manifests {
        Some(_) => Index::parse(&bytes)?.manifests,
        None => Vec::new(),
    };
    let top = Descriptor::new(media_type, *digest, size);
    Ok(std::iter::once(top).chain(listed).collect())
}
