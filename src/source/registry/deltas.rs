// SPDX-License-Identifier: MIT OR Apache-2.0

//! Deltas in a registry, host by host.

use flipside_image::delta::{DELTA_CONFIG_LIMIT, DELTA_MANIFEST_LIMIT, DELTA_TYPE, Delta};
use flipside_image::{Descriptor, Digest, Image};

use super::super::SourceError;
use super::super::deltas::{Configs, Miss, Wanted, pass_over};
use super::Registry;
use super::referrers::{End, Host};

/// Asks the mirrors in order and then the registry, up to the first that has the delta.
pub(super) async fn find(
    registry: &Registry,
    image: &Image,
    from: &Digest,
) -> Result<Option<Delta>, SourceError> {
    let wanted = Wanted { image, from };
    let ask = async |endpoint: &_, timing| {
        Host { registry, endpoint, timing, subject: &image.digest }.delta(wanted).await
    };
    registry.hosts.if_any("delta", ask).await
}

impl Host<'_> {
    async fn delta(&self, wanted: Wanted<'_>) -> Result<Option<Delta>, SourceError> {
        let mut candidates = wanted.candidates();
        let end = self.referrers(Some(DELTA_TYPE), |listed| candidates.add(listed)).await?;
        let mut configs = Configs::new();
        for entry in &candidates.entries {
            match self.delta_in(entry, wanted, &mut configs).await {
                Ok(delta) => return Ok(Some(delta)),
                Err(miss) => pass_over(&self.endpoint.host, entry, miss)?,
            }
        }
        match end {
            End::Failed(error) => Err(error),
            End::Whole | End::Enough | End::TooManyPages => Ok(None),
        }
    }

    async fn delta_in(
        &self,
        entry: &Descriptor,
        wanted: Wanted<'_>,
        configs: &mut Configs,
    ) -> Result<Delta, Miss> {
        let manifest = self.manifest(&entry.digest, DELTA_MANIFEST_LIMIT).await?;
        let manifest = wanted.manifest(entry, &manifest)?;
        configs.take(&manifest.config)?;
        let config = self.blob("config of a delta", &manifest.config, DELTA_CONFIG_LIMIT).await?;
        wanted.delta(&manifest, &config)
    }
}
