// SPDX-License-Identifier: MIT OR Apache-2.0

//! Registries and a mirror in which a host looks for a delta.

use std::sync::Arc;

use flipside_image::{Descriptor, INDEX_TYPE};
use flipside_source::{Location, Options, Source, SourceError, open};
use serde_json::json;

use super::deltas::Pair;
use super::proxy::{Fault, Proxy};
use super::put::Repository;
use super::registry::{Registry, options};

/// A registry behind a proxy, and behind another one a mirror of it, which has what it is given.
pub struct Stage {
    pub proxy: Proxy,
    pub mirror: Proxy,
    pub name: &'static str,
    pub pair: Pair,
    pub options: Options,
    _directory: tempfile::TempDir,
    pub registry: Arc<Registry>,
}

impl Stage {
    pub fn new(name: &'static str) -> Self {
        let registry = Registry::shared();
        let proxy = Proxy::start(registry.address());
        let mirror = Proxy::start(registry.address());
        let directory = tempfile::tempdir().unwrap();
        let options = options(directory.path());
        let pair = Pair::new();
        Self { proxy, mirror, name, pair, options, _directory: directory, registry }
    }

    pub fn mirrored(name: &'static str) -> Self {
        let mut stage = Self::new(name);
        stage.options.mirrors = vec![format!("{}/mirror", stage.mirror.address())];
        stage
    }

    pub fn source(&self) -> Box<dyn Source> {
        let location: Location =
            format!("{}/{}:1", self.proxy.address(), self.name).parse().unwrap();
        open(&location, &self.options).unwrap()
    }

    pub fn repository(&self) -> Repository {
        Repository::at(self.proxy.address(), self.name)
    }

    pub fn at_mirror(&self) -> Repository {
        Repository::at(self.mirror.address(), &format!("mirror/{}", self.name))
    }

    /// Lists these under the tag.
    pub fn tag(&self, entries: &[Descriptor]) {
        self.repository().referrers(&self.pair.new.digest, entries);
    }

    /// The referrers API lists these, whether or not the registry has them.
    pub fn listed(&self, entries: &[Descriptor]) {
        self.proxy.fault("/referrers/", 1, page(entries, None));
    }

    /// What a host that has the old image finds.
    pub fn found(&self) -> Result<Option<String>, SourceError> {
        self.found_by(&*self.source())
    }

    pub fn found_by(&self, source: &dyn Source) -> Result<Option<String>, SourceError> {
        let found = source.delta(&self.pair.new, &self.pair.from())?;
        Ok(found.map(|delta| delta.from_version))
    }

    /// How many manifests were fetched from the registry by their digest.
    pub fn manifests(&self) -> usize {
        self.proxy.count("manifests/sha256:")
    }
}

/// A page of a referrers API.
pub fn page(entries: &[Descriptor], next: Option<&str>) -> Fault {
    let index = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries});
    let mut headers = vec![("content-type", INDEX_TYPE.to_owned())];
    headers.extend(next.map(|query| ("link", format!("</x?{query}>; rel=\"next\""))));
    Fault::Status(200, headers, index.to_string())
}

pub fn status(code: u16) -> Fault {
    Fault::Status(code, vec![], String::new())
}

pub fn some(name: &str) -> Option<String> {
    Some(name.to_owned())
}
