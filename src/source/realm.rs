// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which token services may have a registry's credentials. A registry names its token service in
//! each challenge, so that its word alone must not be enough.

use std::net::IpAddr;

use flipside_image::reference::{is_loopback, split_port};
use reqwest::Url;

use super::http::{authority, same_origin};

/// Docker Hub, as references name it, and its token service.
const DOCKER_HUB: (&str, &str) = ("docker.io", "auth.docker.io");

/// Whether the token service at `realm` may have the credentials for `registry` (`host[:port]`),
/// which was asked at `asked`: the registry itself, what belongs to it by its name, and what is
/// `listed` (`host[:port]`).
pub(super) fn may_have_credentials(
    registry: &str,
    asked: &Url,
    realm: &Url,
    listed: &[String],
) -> bool {
    same_origin(asked, realm)
        || belongs_to(registry, realm)
        || listed.iter().any(|listed| names(listed, realm))
}

/// Whether a name that TLS has verified makes `realm` one with `registry`. A certificate is for a
/// name and no port, except on this machine, where each port may be another user's.
fn belongs_to(registry: &str, realm: &Url) -> bool {
    let Some(host) = realm.host_str().filter(|_| realm.scheme() == "https") else { return false };
    let (name, _) = split_port(registry);
    if is_loopback(host) || is_loopback(name) {
        return false;
    }
    host == name || (name, host) == DOCKER_HUB || parent_domain(name) == Some(host)
}

/// `gitlab.com` of `registry.gitlab.com`; `None` of a name with less than three labels.
fn parent_domain(name: &str) -> Option<&str> {
    if name.parse::<IpAddr>().is_ok() {
        return None;
    }
    name.split_once('.').map(|(_, parent)| parent).filter(|parent| parent.contains('.'))
}

/// Whether an entry of `track.token_realms` names `realm`; of a whole address the host counts.
fn names(listed: &str, realm: &Url) -> bool {
    let place = listed.split_once("://").map_or(listed, |(_, place)| place);
    let place = place.split('/').next().unwrap_or_default();
    let default = realm.port_or_known_default().map(|port| format!(":{port}"));
    let host = realm.host_str().unwrap_or_default();
    place.eq_ignore_ascii_case(&authority(realm))
        || place.eq_ignore_ascii_case(&format!("{host}{}", default.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(registry: &str, realm: &str, listed: &[&str]) -> bool {
        let listed: Vec<String> = listed.iter().map(|&l| l.to_owned()).collect();
        let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
        let scheme = if is_loopback(registry) { "http" } else { "https" };
        let asked = Url::parse(&format!("{scheme}://{host}/v2/")).unwrap();
        may_have_credentials(registry, &asked, &Url::parse(realm).unwrap(), &listed)
    }

    #[test]
    fn credentials_go_to_the_registry_and_to_what_belongs_to_it() {
        for (registry, realm) in [
            ("r.example.com", "https://r.example.com/token"),
            ("r.example.com", "https://R.example.com:443/token"),
            // GitLab's own registry is on another port of the same name.
            ("git.example.com:5050", "https://git.example.com/jwt/auth"),
            ("r.example.com", "https://r.example.com:5001/auth"),
            ("docker.io", "https://auth.docker.io/token"),
            ("registry.gitlab.com", "https://gitlab.com/jwt/auth"),
            ("registry.gitlab.com:5000", "https://gitlab.com/jwt/auth"),
            ("a.b.example.com", "https://b.example.com/token"),
            ("127.0.0.1:5000", "http://127.0.0.1:5000/token"),
            ("10.0.0.1:5000", "https://10.0.0.1/token"),
        ] {
            assert!(may(registry, realm, &[]), "{registry} {realm}");
        }
        for (registry, realm) in [
            ("r.example.com", "https://auth.example.com/token"),
            ("r.example.com", "https://evil.example/token"),
            ("r.example.com", "https://r.example.com.evil.example/token"),
            ("r.example.com", "http://r.example.com/token"),
            ("r.example.com", "http://example.com/token"),
            ("r.example.com", "https://x.r.example.com/token"),
            ("a.b.example.com", "https://example.com/token"),
            // Nobody's parent is a whole top-level domain.
            ("example.com", "https://com/token"),
            ("example.com", "https://example.org/token"),
            ("r.example.com", "https://auth.docker.io/token"),
            ("evil-docker.io", "https://auth.docker.io/token"),
            ("docker.io", "https://auth.docker.io.evil.example/token"),
            ("docker.io", "http://auth.docker.io/token"),
            ("1.2.0.1", "https://2.0.1/token"),
            ("127.0.0.1:5000", "http://127.0.0.1:5001/token"),
            ("127.0.0.1:5000", "https://127.0.0.1:5001/token"),
            ("localhost:5000", "http://127.0.0.1:5000/token"),
        ] {
            assert!(!may(registry, realm, &[]), "{registry} {realm}");
        }
    }

    #[test]
    fn what_is_listed_may_have_them_by_host_and_port() {
        for (listed, realm, expected) in [
            ("auth.example.org", "https://auth.example.org/token", true),
            ("Auth.Example.org:443", "https://auth.example.org/token", true),
            ("https://auth.example.org/token", "https://auth.example.org/other", true),
            ("auth.example.org:5001", "https://auth.example.org:5001/token", true),
            ("auth.example.org", "https://auth.example.org:5001/token", false),
            ("auth.example.org:5001", "https://auth.example.org/token", false),
            ("example.org", "https://auth.example.org/token", false),
            ("127.0.0.1:9", "http://127.0.0.1:9/token", true),
            ("", "https://auth.example.org/token", false),
        ] {
            assert_eq!(may("r.example.com", realm, &[listed]), expected, "{listed} {realm}");
        }
    }
}
