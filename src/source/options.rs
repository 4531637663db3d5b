// SPDX-License-Identifier: MIT OR Apache-2.0

//! How sources are reached.

use std::path::PathBuf;
use std::time::Duration;

use flipside_core::cancel::Cancel;
use flipside_core::host::Root;
use flipside_image::reference::split_port;

/// How sources are reached; paths are as the host calls them, below `root`.
#[derive(Debug, Clone)]
pub struct Options {
    /// `host[:port][/prefix]`, asked in order for manifests and blobs by digest, before the
    /// registry itself. Where that cannot be reached, for tags and signatures as well.
    pub mirrors: Vec<String>,
    /// Hosts (`host:port`) that are spoken to without TLS.
    pub plain_http: Vec<String>,
    /// No TLS at all: `--plain-http`.
    pub all_plain_http: bool,
    /// PEM files of further authorities.
    pub ca: Vec<PathBuf>,
    /// PEM file with this host's certificate chain, which the registry and its mirrors are shown
    /// and nobody else.
    pub client_cert: Option<PathBuf>,
    /// PEM file with its key.
    pub client_key: Option<PathBuf>,
    /// Credentials; `None` searches the usual places.
    pub auth_file: Option<PathBuf>,
    /// Token services, `host[:port]`, that may have a registry's credentials besides those that
    /// belong to it.
    pub token_realms: Vec<String>,
    /// The proxy, `http[s]://host:port`; `None` takes those of the environment.
    pub proxy: Option<String>,
    /// Who is reached without a proxy, as `NO_PROXY` lists it; empty is what the environment says.
    pub no_proxy: Vec<String>,
    /// Bytes per second for payloads; `None` is as fast as it goes.
    pub max_rate: Option<u64>,
    /// Bytes per second that a mirror has to give; `None` is any rate.
    pub min_rate: Option<u64>,
    /// How long the payloads of one image may take; `None` is any time.
    pub time_limit: Option<Duration>,
    /// Ends every wait.
    pub stop: Cancel,
    /// Where the files are.
    pub root: Root,
    /// How long to wait and how often to try.
    pub timing: Timing,
}

impl Options {
    /// No mirrors, no exceptions, the usual places.
    pub fn new(root: Root, stop: Cancel) -> Self {
        Self {
            mirrors: Vec::new(),
            plain_http: Vec::new(),
            all_plain_http: false,
            ca: Vec::new(),
            client_cert: None,
            client_key: None,
            auth_file: None,
            token_realms: Vec::new(),
            proxy: None,
            no_proxy: Vec::new(),
            max_rate: None,
            min_rate: None,
            time_limit: None,
            stop,
            root,
            timing: Timing::default(),
        }
    }

    /// Whether `host`, or `host:port`, is listed as one that may be spoken to without TLS; loopback
    /// is a matter of its own.
    pub fn lists_plain_http(&self, host: &str) -> bool {
        let bare = |host: &str| match split_port(host) {
            (name, Some("80")) => name.to_ascii_lowercase(),
            _ => host.to_ascii_lowercase(),
        };
        self.all_plain_http || self.plain_http.iter().any(|listed| bare(listed) == bare(host))
    }
}

/// Time-outs and repetitions. The defaults suit hosts behind slow and broken
/// links; tests make them short.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// Without a single byte.
    pub stall: Duration,
    /// For the head of an answer about a manifest or its referrers, once connected: a registry
    /// that fetches on demand has to ask another one first.
    pub answer: Duration,
    /// For a question and its whole answer, repetitions included. A payload gets this
    /// and on top the time that its bytes take at 1 KiB/s.
    pub total: Duration,
    /// Tries in a row without progress.
    pub tries: u32,
    /// The first back-off; each further one is twice as long.
    pub base: Duration,
    /// The longest back-off.
    pub cap: Duration,
    /// How long is waited for bytes of a mirror before its rate is looked at.
    pub rate_window: Duration,
    /// The longest Retry-After that is waited for; who asks for more is asked next time.
    pub retry_after: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            // zot took 134 s for a HEAD that it synchronised an image for (zot#4184).
            answer: Duration::from_secs(180),
            total: Duration::from_secs(600),
            tries: 5,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(30),
            rate_window: Duration::from_secs(30),
            retry_after: Duration::from_secs(120),
        }
    }
}
