// SPDX-License-Identifier: MIT OR Apache-2.0

//! Signatures in a registry, host by host.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use flipside_image::{Descriptor, Digest};

use super::super::signatures::{
    BUNDLE_LIMIT, BUNDLE_MANIFEST_LIMIT, BUNDLES, Judge, LIMIT, Looked, MANIFESTS, PAYLOAD_LIMIT,
    Signature, bundles, may_hold_bundle, no_signature, payloads, says_something_else,
    signature_tag, unreadable,
};
use super::super::{Source as _, SourceError};
use super::Registry;
use super::hosts::is_down;
use super::referrers::{End, Host};

/// Asks the registry until `judge` has enough, and its mirrors where it does not answer: whoever
/// has a valid one may show it, and nobody else may say that there is none.
pub(super) async fn find(
    registry: &Registry,
    subject: &Digest,
    judge: &mut Judge<'_>,
) -> Result<(), SourceError> {
    let asked = registry.hosts.registry_first(async |endpoint, timing| {
        Host { registry, endpoint, timing, subject }.ask(judge).await
    });
    asked.await.map(|_| ())
}

impl Host<'_> {
    /// Asks in both homes: whatever is wrong with one, the other may have what is enough.
    async fn ask(&self, judge: &mut Judge<'_>) -> Result<ControlFlow<()>, SourceError> {
        // What is in one home may take no longer than one question: a host that gives its answers
        // one byte at a time must not hold a run for hours.
        let total = self.timing.total;
        let late = || SourceError::Unreachable {
            host: self.endpoint.host.clone(),
            reason: format!("not all signatures in {} s", total.as_secs_f32()),
        };
        let simple = match tokio::time::timeout(total, self.simple(judge)).await {
            Ok(Ok(ControlFlow::Break(()))) => return Ok(ControlFlow::Break(())),
            Ok(Err(SourceError::Stopped(stopped))) => return Err(stopped.into()),
            Ok(Err(error)) if is_down(&error) => return Err(error),
            asked => asked.unwrap_or_else(|_| Err(late())),
        };
        let bundles = tokio::time::timeout(total, self.bundles(judge)).await;
        match (bundles.unwrap_or_else(|_| Err(late())), simple) {
            (Ok(ControlFlow::Break(())), _) => Ok(ControlFlow::Break(())),
            (Err(SourceError::Stopped(stopped)), _) => Err(stopped.into()),
            (_, Err(error)) => Err(error),
            (bundles, Ok(_)) => bundles,
        }
    }

    async fn simple(&self, judge: &mut Judge<'_>) -> Result<ControlFlow<()>, SourceError> {
        let Some(manifest) =
            self.tagged("manifest of signatures", &signature_tag(self.subject)).await?
        else {
            return Ok(ControlFlow::Continue(()));
        };
        let layers = match payloads(&manifest) {
            Ok(layers) => layers,
            Err(error) => return Ok(done(judge(unreadable(error.into())?))),
        };
        // Many signatures may be over one payload.
        let mut fetched: BTreeMap<(Digest, u64), Signature> = BTreeMap::new();
        for layer in layers {
            let name = (layer.digest, layer.size);
            let signature = match (no_signature(&layer), fetched.get(&name)) {
                (Some(none), _) => none,
                (None, Some(found)) => found.clone(),
                (None, None) if fetched.len() >= LIMIT => return Err(self.too_many()),
                (None, None) => {
                    let found = match self.blob("signed payload", &layer, PAYLOAD_LIMIT).await {
                        Ok(payload) => Signature::Simple { payload, annotations: BTreeMap::new() },
                        Err(error) => unreadable(error)?,
                    };
                    fetched.entry(name).or_insert(found).clone()
                }
            };
            let signature = match signature {
                Signature::Simple { payload, .. } => {
                    Signature::Simple { payload, annotations: layer.annotations }
                }
                other => other,
            };
            if judge(signature).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    async fn bundles(&self, judge: &mut Judge<'_>) -> Result<ControlFlow<()>, SourceError> {
        let (mut manifests, mut listed) = (Vec::new(), BTreeSet::new());
        let take = |page: Vec<Descriptor>| {
            let fresh = |entry: &Descriptor| may_hold_bundle(entry) && listed.insert(entry.digest);
            manifests.extend(page.into_iter().filter(fresh));
            // There is no use in more than what may be looked at.
            if manifests.len() > MANIFESTS {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        let end = self.referrers(None, take).await?;
        manifests.sort_by_key(says_something_else);
        let (mut looked, mut seen) = (Looked::default(), BTreeSet::new());
        for entry in &manifests {
            if !looked.may_fetch() {
                return Err(self.too_many());
            }
            let found = match self.bundles_in(entry, &mut seen).await {
                Ok(found) => found,
                Err(error) => vec![unreadable(error)?],
            };
            for signature in found {
                match judge(signature) {
                    ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
                    ControlFlow::Continue(worth) if looked.may_go_on(worth) => {}
                    ControlFlow::Continue(_) => return Err(self.too_many()),
                }
            }
        }
        match end {
            End::Whole | End::Enough => Ok(ControlFlow::Continue(())),
            End::TooManyPages => Err(self.too_many()),
            End::Failed(error) => Err(error),
        }
    }

    /// The bundles of one manifest, but for those that were `seen` in another.
    async fn bundles_in(
        &self,
        entry: &Descriptor,
        seen: &mut BTreeSet<(Digest, u64)>,
    ) -> Result<Vec<Signature>, SourceError> {
        let manifest = self.manifest(&entry.digest, BUNDLE_MANIFEST_LIMIT).await?;
        let (layers, annotations) = bundles(&manifest, self.subject)?;
        let mut found = Vec::new();
        let fresh = layers.iter().filter(|layer| seen.insert((layer.digest, layer.size)));
        for layer in fresh.take(BUNDLES) {
            found.push(match self.blob("bundle", layer, BUNDLE_LIMIT).await {
                Ok(bundle) => Signature::Bundle { bundle, annotations: annotations.clone() },
                Err(error) => unreadable(error)?,
            });
        }
        Ok(found)
    }

    fn too_many(&self) -> SourceError {
        SourceError::TooManySignatures { place: self.registry.repository(), subject: *self.subject }
    }
}

/// Whether a judge has enough.
fn done<C>(judged: ControlFlow<(), C>) -> ControlFlow<()> {
    judged.map_continue(drop)
}
