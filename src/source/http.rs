// SPDX-License-Identifier: MIT OR Apache-2.0

//! Requests and redirects: which client speaks to which host, and what a
//! redirect may lead to.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use flipside_image::reference::is_loopback;
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION,
};
use reqwest::{Client, Method, Response, StatusCode, Url};

use super::answer::{Answer, read_some};
use super::content::Part;
use super::failure;
use super::options::{Options, Timing};
use super::proxy::{self, Proxies};
use super::retry::Failure;
use super::{SourceError, certs_d, tls};

/// How this program names itself.
const USER_AGENT: &str = concat!("flipside/", env!("CARGO_PKG_VERSION"));
/// The most redirects that are followed.
const MAX_REDIRECTS: usize = 10;

/// The HTTP clients, each built when it is first needed.
pub(crate) struct Http {
    pub options: Options,
    proxies: Proxies,
    clients: Mutex<BTreeMap<Kind, Client>>,
}

/// Who shares a client, and with it connections.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    tls: bool,
    /// With this host's certificate.
    identified: bool,
    /// Through this proxy.
    proxy: Option<Url>,
    /// One host alone, which has certificates of its own.
    host: Option<String>,
}

/// One question.
#[derive(Clone)]
pub(crate) struct Request {
    pub method: Method,
    pub url: Url,
    /// Sent to the first host only.
    pub authorization: Option<HeaderValue>,
    /// Whether this host's certificate may be shown, by the first host only.
    pub identified: bool,
    pub headers: HeaderMap,
    pub body: Option<Body>,
}

/// What is sent with a request, as often as it has to be sent.
#[derive(Clone)]
pub(crate) enum Body {
    /// A form, already encoded.
    Form(String),
    /// A blob or a part of it, or a manifest.
    Part(Part),
}

impl Request {
    /// One for the registry itself.
    pub fn new(method: Method, url: Url) -> Self {
        let (authorization, headers) = (None, HeaderMap::new());
        Self { method, url, authorization, identified: true, headers, body: None }
    }

    /// What nobody may repeat: a token, or a password as it is and in base64.
    fn secrets(&self) -> Vec<String> {
        use base64::Engine;
        let shown = self.authorization.as_ref().and_then(|value| value.to_str().ok());
        let Some((_, shown)) = shown.and_then(|text| text.split_once(' ')) else { return vec![] };
        let decoded = base64::engine::general_purpose::STANDARD.decode(shown).unwrap_or_default();
        let decoded = String::from_utf8(decoded).unwrap_or_default();
        let password = decoded.split_once(':').map(|(_, password)| password.to_owned());
        password.into_iter().filter(|p| !p.is_empty()).chain([shown.to_owned()]).collect()
    }
}

impl Http {
    pub fn new(options: Options) -> Self {
        let proxies = Proxies::new(&options, &|name| std::env::var_os(name));
        Self { options, proxies, clients: Mutex::default() }
    }

    pub fn timing(&self) -> Timing {
        self.options.timing
    }

    /// Whether plain HTTP to `url` is listed; loopback is a matter of its own.
    fn is_listed(&self, url: &Url) -> bool {
        self.options.lists_plain_http(&authority(url))
    }

    /// Refuses plain HTTP where it is not allowed; `from` led there.
    pub fn check_scheme(&self, from: Option<&Url>, url: &Url) -> Result<(), SourceError> {
        let refused = || SourceError::PlainHttpRefused { host: authority(url) };
        match url.scheme() {
            "https" => Ok(()),
            "http" if self.is_listed(url) => Ok(()),
            // Only this machine may send to itself: nothing far away may reach into it.
            "http" if is_loopback(&authority(url)) => match from {
                Some(from) if !is_loopback(&authority(from)) => Err(refused()),
                _ => Ok(()),
            },
            "http" => Err(refused()),
            _ => Err(SourceError::RedirectInvalid {
                host: from.map(authority).unwrap_or_default(),
                reason: "it is neither https nor http",
            }),
        }
    }

    /// Refuses to go on at `next`, to where an answer of `from` leads, if it is plain HTTP that is
    /// not allowed.
    pub fn check_next(&self, from: &Url, next: &Url) -> Result<(), SourceError> {
        self.check_scheme(Some(from), next).map_err(|error| match error {
            SourceError::PlainHttpRefused { host } => {
                SourceError::RedirectToPlainHttp { from: authority(from), host }
            }
            error => error,
        })
    }

    /// Asks, and follows redirects.
    pub async fn send(&self, request: Request) -> Result<Answer, Failure> {
        let first = request.url.clone();
        let mut request = request;
        let mut seen = Vec::new();
        loop {
            let host = authority(&request.url);
            let response = self.exchange(&request).await?;
            let foreign = !same_origin(&first, &request.url);
            let proxy = self.proxies.find(&request.url);
            let host = match (response.status(), proxy) {
                (StatusCode::PROXY_AUTHENTICATION_REQUIRED, Some(proxy)) => proxy::name(proxy),
                _ => host,
            };
            let Some(next) = redirection(&response, &first)? else {
                return Ok(Answer { response, host, foreign, secrets: request.secrets() });
            };
            self.check_next(&request.url, &next)?;
            seen.push(std::mem::replace(&mut request.url, next));
            if seen.len() > MAX_REDIRECTS || seen.contains(&request.url) {
                return Err(SourceError::RedirectLoop { host: authority(&first) }.into());
            }
            // Once dropped it stays dropped, also where a foreign host leads back.
            if !same_origin(&first, &request.url) {
                // A form holds a token that cannot be left behind.
                if let Some(Body::Form(_)) = request.body {
                    return Err(SourceError::RedirectInvalid {
                        host: authority(&first),
                        reason: "credentials would go to another host",
                    }
                    .into());
                }
                request.authorization = None;
                request.identified = false;
            }
            tracing::debug!(from = host, to = authority(&request.url), "redirected");
            read_some(response).await;
        }
    }

    /// One request, one answer's head.
    async fn exchange(&self, request: &Request) -> Result<Response, Failure> {
        let host = authority(&request.url);
        let client = self.client(&request.url, request.identified)?;
        let mut builder = client.request(request.method.clone(), request.url.clone());
        builder = builder.headers(request.headers.clone());
        if let Some(authorization) = &request.authorization {
            builder = builder.header(AUTHORIZATION, authorization.clone());
        }
        match &request.body {
            Some(Body::Form(form)) => {
                builder = builder
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(form.clone());
            }
            Some(Body::Part(part)) => {
                builder = builder.header(CONTENT_LENGTH, part.length()).body(part.body());
            }
            None => {}
        }
        let timing = self.timing();
        // A host that is gone is not waited for as long: the client ends a connection after 30 s in
        // which nothing of the question was acknowledged (tcp(7), TCP_USER_TIMEOUT).
        let is_patient = may_be_fetched_first(&request.url);
        // Who was sent a blob may have to hash and to move it.
        let has_part = matches!(request.body, Some(Body::Part(_)));
        let patience = if is_patient || has_part { timing.answer } else { timing.stall };
        let sent = || match &request.body {
            Some(Body::Part(part)) => part.sent(),
            _ => 0,
        };
        let mut sending = std::pin::pin!(builder.send());
        let answered = loop {
            let before = sent();
            match tokio::time::timeout(patience, &mut sending).await {
                Err(_) if sent() != before => {}
                answered => break answered,
            }
        };
        match answered {
            Ok(Ok(response)) => {
                // Storage behind redirects may sign in the path as well.
                let path = Some(request.url.path()).filter(|p| p.starts_with("/v2/"));
                tracing::debug!(
                    host,
                    method = %request.method,
                    path,
                    status = response.status().as_u16(),
                    "asked"
                );
                Ok(response)
            }
            Ok(Err(error)) => Err(Failure {
                other_protocol: failure::is_other_protocol(&error),
                ..failure::of_request(&error, &host, self.proxies.find(&request.url))
            }),
            Err(_) => {
                let reason = format!("no answer for {} s", patience.as_secs_f32());
                let error = SourceError::Unreachable { host, reason };
                // Who was waited for that long is not asked a second time in this run.
                Err(if is_patient { error.into() } else { Failure::transient(error) })
            }
        }
    }

    /// The client for a URL: with TLS or without, with this host's certificate or without, and
    /// through its proxy.
    fn client(&self, url: &Url, identified: bool) -> Result<Client, SourceError> {
        let host = authority(url);
        let tls = url.scheme() == "https";
        let has_own = tls && certs_d::directory(&self.options.root, &host).is_some();
        let kind = Kind {
            tls,
            // Without a certificate both are one, and share their connections.
            identified: identified && tls && (self.options.client_cert.is_some() || has_own),
            proxy: self.proxies.find(url).cloned(),
            host: has_own.then(|| host.clone()),
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&kind) {
            return Ok(client.clone());
        }
        let failed = |reason: String| SourceError::Tls { host: host.clone(), reason };
        let config = match tls {
            true => tls::configured(&self.options, &host, kind.identified)?,
            false => tls::none().map_err(|e| failed(e.to_string()))?,
        };
        let mut builder = Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(self.timing().connect)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .tls_backend_preconfigured(config);
        builder = match kind.proxy.clone() {
            Some(proxy) => {
                let proxy = reqwest::Proxy::all(proxy);
                builder.proxy(proxy.map_err(|e| failed(failure::last_words(&e)))?)
            }
            None => builder.no_proxy(),
        };
        let client = builder.build().map_err(|e| failed(failure::last_words(&e)))?;
        clients.insert(kind, client.clone());
        Ok(client)
    }
}

/// Whether a registry may have to ask another one before it can answer: for manifests and for
/// referrers (OCI distribution spec, "Endpoints").
fn may_be_fetched_first(url: &Url) -> bool {
    let path = url.path();
    path.starts_with("/v2/") && (path.contains("/manifests/") || path.contains("/referrers/"))
}

/// Where an answer redirects to, if it does (RFC 9110 section 15.4).
fn redirection(response: &Response, first: &Url) -> Result<Option<Url>, SourceError> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let invalid = |reason| SourceError::RedirectInvalid { host: authority(first), reason };
    if !response.headers().contains_key(LOCATION) {
        return Err(invalid("it names none"));
    }
    location(response).map(Some).ok_or_else(|| invalid("it is not a URL"))
}

/// Where the Location of an answer leads (RFC 9110 section 10.2.2).
pub(crate) fn location(response: &Response) -> Option<Url> {
    let text = response.headers().get(LOCATION)?.to_str().ok()?;
    let mut url = response.url().join(text).ok().filter(Url::has_host)?;
    // A name and a password in a URL would become an Authorization header.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    Some(url)
}

/// Whether both have the same scheme, host and port (RFC 6454 section 4).
pub(crate) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host_str() == b.host_str()
        && a.port_or_known_default() == b.port_or_known_default()
}

/// `host` or `host:port` of a URL, for people: never the path, the query or a user.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flipside_core::cancel::Cancel;
    use flipside_core::host::Root;
    use flipside_image::code::Coded;

    #[test]
    fn plain_http_is_for_listed_hosts_and_between_parts_of_this_machine() {
        let mut options = Options::new(Root::live(), Cancel::new());
        options.plain_http = vec!["cache.lan:80".into(), "r.lan:5000".into()];
        let mut http = Http::new(options);
        let refused = "plain-http-refused";
        let cases = [
            (None, "https://r.example/", ""),
            (None, "http://r.example/", refused),
            (None, "http://r.lan:5000/", ""),
            (None, "http://r.lan:5001/", refused),
            (None, "http://cache.lan/", ""),
            (None, "http://cache.lan:80/", ""),
            (None, "http://cache.lan:81/", refused),
            (None, "http://127.0.0.1:5000/", ""),
            (Some("https://r.example/"), "http://127.0.0.1:5000/", refused),
            (Some("http://localhost/"), "http://[::1]:5000/", ""),
            (Some("http://localhost/"), "http://r.example/", refused),
            (Some("https://r.example/"), "http://r.lan:5000/", ""),
            (Some("https://r.example/"), "https://127.0.0.1/", ""),
            (None, "ftp://r.lan:5000/", "redirect-invalid"),
        ];
        let url = |text: &str| Url::parse(text).unwrap();
        for (from, to, code) in cases {
            let checked = http.check_scheme(from.map(url).as_ref(), &url(to));
            assert_eq!(checked.err().map_or("", |e| e.code().name()), code, "{from:?} {to}");
        }
        http.options.all_plain_http = true;
        assert!(http.check_scheme(None, &url("http://r.example/")).is_ok());
    }

    #[test]
    fn another_port_or_scheme_is_another_host() {
        let same = |a, b| same_origin(&Url::parse(a).unwrap(), &Url::parse(b).unwrap());
        assert!(same("https://r.example/a", "https://R.example:443/b?c"));
        assert!(!same("https://r.example/", "https://r.example:444/"));
        assert!(!same("https://r.example/", "http://r.example/"));
        assert!(!same("https://r.example/", "https://r.example.evil/"));
        let url = Url::parse("https://u:p@r.example:1/path?sig=x#f").unwrap();
        assert_eq!(authority(&url), "r.example:1");
    }
}
