// SPDX-License-Identifier: MIT OR Apache-2.0

//! A host that follows a registry of its own, which sees through a proxy what it is asked.

use flipside_core::progress::Silent;
use flipside_publish::push::push;

use super::host::TestHost;
use super::proxy::Proxy;
use super::registry::Registry;

/// Pushes what `stable` names for `host` to `repository` of a new registry, and lets the host follow
/// it there. Both last as long as they are held.
pub fn followed(host: &TestHost, repository: &str) -> (Registry, Proxy) {
    let registry = Registry::start();
    let name = format!("{repository}:stable");
    let (reference, options) = (registry.reference(&name), registry.options());
    push(&host.track, Some("stable"), &reference, &options, &Silent).unwrap();
    let proxy = Proxy::start(registry.address());
    let directory = host.file("etc/flipside/flipside.toml.d");
    std::fs::create_dir_all(&directory).unwrap();
    let text = format!("[track]\nimage = \"{}/{name}\"\n", proxy.address());
    std::fs::write(directory.join("50-follow.toml"), text).unwrap();
    (registry, proxy)
}
