// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which proxy leads to a host: that of the settings, or that of the environment. Exceptions are
//! read as Go's tools do it (golang.org/x/net/http/httpproxy).

use std::net::IpAddr;

use flipside_image::reference::{is_loopback, split_port};
use ipnet::IpNet;
use reqwest::Url;

use super::Options;
use super::secret::Environment;

/// The proxies for both schemes, and who is reached without one.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    http: Option<Url>,
    https: Option<Url>,
    exceptions: Vec<Exception>,
    /// The same as text, for other programs.
    no_proxy: String,
}

impl Proxies {
    /// `track.proxy` and `track.no_proxy`, or in the place of each the variables of the environment.
    pub fn new(options: &Options, environment: Environment<'_>) -> Self {
        let variable = |name: &str| {
            let value = [name.to_owned(), name.to_ascii_uppercase()].map(|name| environment(&name));
            let value = value.into_iter().flatten().find(|value| !value.is_empty())?;
            value.into_string().ok()
        };
        let proxy = |name: &str| {
            let text = options
                .proxy
                .clone()
                .or_else(|| variable(name))
                .or_else(|| variable("all_proxy"))?;
            let url = proxy_url(&text);
            if url.is_none() {
                tracing::warn!("the proxy in {name} is left out: its address cannot be read");
            }
            url
        };
        let listed = match options.no_proxy.is_empty() {
            true => variable("no_proxy").unwrap_or_default(),
            false => options.no_proxy.join(","),
        };
        let listed: Vec<_> =
            listed.split(',').map(str::trim).filter(|text| !text.is_empty()).collect();
        Self {
            http: proxy("http_proxy"),
            https: proxy("https_proxy"),
            exceptions: listed.iter().filter_map(|text| Exception::read(text)).collect(),
            no_proxy: listed.join(","),
        }
    }

    /// The proxy for a URL; never one for this machine itself.
    pub fn find(&self, url: &Url) -> Option<&Url> {
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        let host = url.host_str()?.trim_end_matches('.').to_ascii_lowercase();
        let port = url.port_or_known_default();
        let is_excepted = || {
            self.exceptions.iter().any(|exception| {
                exception.port.is_none_or(|wanted| Some(wanted) == port) && exception.has(&host)
            })
        };
        proxy.as_ref().filter(|_| !is_loopback(&host) && !is_excepted())
    }

    /// The same as variables, for programs that are run.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let proxies = [("http_proxy", &self.http), ("https_proxy", &self.https)];
        let set =
            proxies.into_iter().filter_map(|(name, url)| Some((name, url.as_ref()?.to_string())));
        let exceptions = Some(&self.no_proxy).filter(|text| !text.is_empty());
        set.chain(exceptions.map(|text| ("no_proxy", text.clone()))).collect()
    }
}

/// For people: a proxy without its user.
pub(crate) fn name(proxy: &Url) -> String {
    let port = proxy.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("the proxy {}{port}", proxy.host_str().unwrap_or_default())
}

/// The address of a proxy; one without a scheme is spoken to in plain HTTP.
pub fn proxy_url(text: &str) -> Option<Url> {
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    Url::parse(&text).ok().filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host())
}

/// Whether `text` names hosts that are reached without a proxy.
pub fn is_exception(text: &str) -> bool {
    Exception::read(text).is_some()
}

/// Who is reached without a proxy, at any port or at one.
#[derive(Debug, Clone)]
struct Exception {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Debug, Clone)]
enum Hosts {
    All,
    Network(IpNet),
    /// Everything below this name, which begins with a dot, and the name itself where it is `true`.
    Domain(String, bool),
}

impl Exception {
    /// `*`, an address, a network `192.0.2.0/24`, or a name: `example.com` with all below it,
    /// `.example.com` and `*.example.com` without itself. All but networks may have a port.
    fn read(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        if let Ok(network) = text.parse() {
            return Some(Self { hosts: Hosts::Network(network), port: None });
        }
        let (name, port) = match text.parse::<IpAddr>() {
            Ok(_) => (text.as_str(), None),
            Err(_) => split_port(&text),
        };
        let port = port.map(str::parse).transpose().ok()?;
        let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
        let hosts = match (name, bare.parse::<IpAddr>()) {
            ("*", _) => Hosts::All,
            (_, Ok(address)) => Hosts::Network(address.into()),
            (name, Err(_)) => {
                let below = name.strip_prefix('*').unwrap_or(name);
                let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
                if below.trim_matches('.').is_empty() || !below.bytes().all(is_name) {
                    return None;
                }
                match below.starts_with('.') {
                    true => Hosts::Domain(below.to_owned(), false),
                    false if below == name => Hosts::Domain(format!(".{name}"), true),
                    // `*example.com` is nobody's form.
                    false => return None,
                }
            }
        };
        Some(Self { hosts, port })
    }

    fn has(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match &self.hosts {
            Hosts::All => true,
            Hosts::Network(network) => bare.parse::<IpAddr>().is_ok_and(|a| network.contains(&a)),
            Hosts::Domain(below, itself) => {
                host.ends_with(below.as_str()) || *itself && below.strip_prefix('.') == Some(host)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flipside_core::cancel::Cancel;
    use flipside_core::host::Root;

    fn found(options: &Options, environment: &[(&str, &str)], url: &str) -> String {
        let environment = |name: &str| {
            environment.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).into())
        };
        let proxies = Proxies::new(options, &environment);
        proxies.find(&Url::parse(url).unwrap()).map(ToString::to_string).unwrap_or_default()
    }

    #[test]
    fn the_settings_come_before_the_environment_and_this_machine_has_no_proxy() {
        let mut options = Options::new(Root::live(), Cancel::new());
        let environment =
            [("HTTPS_PROXY", "http://e:1"), ("http_proxy", "f:2"), ("no_proxy", "x.lan, y.lan")];
        for (url, proxy) in [
            ("https://r.example/", "http://e:1/"),
            ("http://r.example/", "http://f:2/"),
            ("https://y.lan/", ""),
            ("https://127.0.0.1:5000/", ""),
            ("http://localhost/", ""),
        ] {
            assert_eq!(found(&options, &environment, url), proxy, "{url}");
        }
        assert_eq!(found(&options, &[("all_proxy", "a:3")], "https://r.example/"), "http://a:3/");
        assert_eq!(found(&options, &[("https_proxy", "socks5://a")], "https://r.example/"), "");
        options.proxy = Some("s.lan:3128".into());
        for (url, proxy) in [
            ("https://r.example/", "http://s.lan:3128/"),
            ("http://r.example/", "http://s.lan:3128/"),
            ("https://y.lan/", ""),
            ("https://[::1]/", ""),
        ] {
            assert_eq!(found(&options, &environment, url), proxy, "{url}");
        }
        options.no_proxy = vec!["z.lan".into()];
        assert_eq!(found(&options, &environment, "https://z.lan/"), "");
        assert_eq!(found(&options, &environment, "https://y.lan/"), "http://s.lan:3128/");
    }

    #[test]
    fn exceptions_are_read_as_go_reads_them() {
        for (listed, hosts, others) in [
            ("*", &["r.example", "192.0.2.1"][..], &[][..]),
            (
                "r.example",
                &["r.example", "a.r.example", "R.Example", "r.example."],
                &["xr.example"],
            ),
            (".r.example", &["a.r.example"], &["r.example", "xr.example"]),
            ("*.r.example", &["a.b.r.example"], &["r.example"]),
            ("r.example:5000", &["r.example:5000", "a.r.example:5000"], &["r.example"]),
            ("r.example:443", &["r.example"], &["r.example:5000"]),
            ("192.0.2.1", &["192.0.2.1", "192.0.2.1:5000"], &["192.0.2.2", "a.192.0.2.1.example"]),
            ("192.0.2.1:5000", &["192.0.2.1:5000"], &["192.0.2.1"]),
            ("192.0.2.0/24", &["192.0.2.77:5000"], &["192.0.3.1", "r.example"]),
            ("fd00::/8", &["[fd12::1]"], &["[fe80::1]", "192.0.2.1"]),
            ("fd00::1", &["[fd00::1]"], &["[fd00::2]"]),
            ("[fd00::1]:5000", &["[fd00::1]:5000"], &["[fd00::1]"]),
        ] {
            assert!(is_exception(listed), "{listed}");
            let mut options = Options::new(Root::live(), Cancel::new());
            options.proxy = Some("http://p".into());
            options.no_proxy = vec![listed.into()];
            for (hosts, is_excepted) in [(hosts, true), (others, false)] {
                for host in hosts {
                    let proxy = found(&options, &[], &format!("https://{host}/"));
                    assert_eq!(proxy.is_empty(), is_excepted, "{listed} {host}");
                }
            }
        }
        for listed in
            ["", ".", "*.", "http://r.example", "r.example/a", "a b", "r.example:x", "*r.example"]
        {
            assert!(!is_exception(listed), "{listed}");
        }
    }

    #[test]
    fn other_programs_get_the_same_by_the_environment() {
        let mut options = Options::new(Root::live(), Cancel::new());
        options.proxy = Some("p.lan:3128".into());
        options.no_proxy = vec!["lan".into(), "192.0.2.0/24".into()];
        let expected = [
            ("http_proxy", "http://p.lan:3128/".to_owned()),
            ("https_proxy", "http://p.lan:3128/".to_owned()),
            ("no_proxy", "lan,192.0.2.0/24".to_owned()),
        ];
        assert_eq!(Proxies::new(&options, &|_| None).variables(), expected);
    }
}
