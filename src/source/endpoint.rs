// SPDX-License-Identifier: MIT OR Apache-2.0

//! One repository on one host: the registry itself or a mirror of it.

use std::sync::atomic::{AtomicBool, Ordering};

use flipside_image::reference::{is_host, is_loopback, is_repository};
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode, Url};

use super::answer::{self, Answer, read_some};
use super::http::{Http, Request};
use super::login::{Login, PULL, PUSH, Place};
use super::rate::Meter;
use super::retry::Failure;
use super::{Reference, ReferenceError, SourceError};

/// How often a request is answered with 401 before that is believed: the token
/// has expired, and another caller's renewal came between.
const LOGINS: usize = 3;

/// One repository on one host.
pub(super) struct Endpoint {
    /// As people write it.
    pub host: String,
    pub repository: String,
    /// On a mirror: the registry whose repository this is.
    namespace: Option<String>,
    /// What it is asked for, [`PULL`] or [`PUSH`].
    actions: &'static str,
    login: Login,
    /// On loopback, where both are as good: which of the two is spoken.
    tls: AtomicBool,
    settled: AtomicBool,
    /// It could not be reached; a mirror is then left out.
    pub down: AtomicBool,
    /// It was left because it gave bytes too slowly; it is then down as well.
    pub slow: AtomicBool,
    /// How fast it gives bytes.
    pub meter: Meter,
}

impl Endpoint {
    pub fn registry(reference: &Reference) -> Self {
        Self::new(reference.host(), reference.repository().to_owned(), None)
    }

    /// The same, to push to.
    pub fn to_push(reference: &Reference) -> Self {
        Self { actions: PUSH, ..Self::registry(reference) }
    }

    /// A mirror given as `host[:port][/prefix]`.
    ///
    /// # Errors
    /// [`SourceError::ReferenceInvalid`], [`SourceError::PlainHttpRefused`].
    pub fn mirror(mirror: &str, reference: &Reference) -> Result<Self, SourceError> {
        let invalid = |reason| SourceError::from(ReferenceError::new(mirror, reason));
        let place = mirror.strip_prefix("https://").unwrap_or(mirror).trim_end_matches('/');
        if place.contains("://") {
            return Err(invalid("a mirror is host[:port][/prefix]; list plain ones in plain_http"));
        }
        let (host, prefix) = place.split_once('/').map_or((place, None), |(h, p)| (h, Some(p)));
        let host = host.to_ascii_lowercase();
        if !is_host(&host) || prefix.is_some_and(|prefix| !is_repository(prefix)) {
            return Err(invalid("a mirror is host[:port][/prefix]"));
        }
        let repository = match prefix {
            Some(prefix) => format!("{prefix}/{}", reference.repository()),
            None => reference.repository().to_owned(),
        };
        Ok(Self::new(&host, repository, Some(reference.host().to_owned())))
    }

    fn new(host: &str, repository: String, namespace: Option<String>) -> Self {
        Self {
            host: host.to_owned(),
            repository,
            namespace,
            actions: PULL,
            login: Login::default(),
            tls: AtomicBool::new(false),
            settled: AtomicBool::new(false),
            down: AtomicBool::new(false),
            slow: AtomicBool::new(false),
            meter: Meter::default(),
        }
    }

    /// Whether it is a mirror: then others have what it has.
    pub fn is_mirror(&self) -> bool {
        self.namespace.is_some()
    }

    /// Asks for `path` below the repository, logging in where that is asked for.
    /// Any status but 401 is the caller's matter.
    pub async fn ask(
        &self,
        http: &Http,
        method: Method,
        path: &str,
        headers: HeaderMap,
    ) -> Result<Answer, Failure> {
        let url = self.url(http, path)?;
        self.log_in_and_send(http, Request { headers, ..Request::new(method, url) }).await
    }

    /// Sends a request to the registry itself, logging in where that is asked for.
    pub async fn log_in_and_send(
        &self,
        http: &Http,
        mut request: Request,
    ) -> Result<Answer, Failure> {
        let mut logins = 0;
        loop {
            let (authorization, generation) = self.login.current().await;
            request.authorization = authorization;
            let answer = self.send(http, request.clone()).await?;
            if !is_refused(&answer) {
                return Ok(answer);
            }
            if self.tls.load(Ordering::Relaxed) {
                // Found out just now.
                let _ = request.url.set_scheme("https");
            }
            logins += 1;
            let host = answer.host.clone();
            let (challenge, said) = challenge_of(answer).await?;
            let renewed = match logins < LOGINS {
                true => self.renew(http, &request.url, &challenge, generation).await,
                false => {
                    let reason = self.login.refusal(http).await;
                    Err(SourceError::Unauthorized { host, reason }.into())
                }
            };
            if let Err(mut failure) = renewed {
                self.add_reason(http, request, said, &mut failure.error).await;
                return Err(failure);
            }
        }
    }

    /// Adds why the registry refuses what it was shown. An answer to HEAD had no room for that.
    async fn add_reason(
        &self,
        http: &Http,
        request: Request,
        mut said: Option<String>,
        error: &mut SourceError,
    ) {
        let SourceError::Unauthorized { host, reason } = error else { return };
        if *host != self.host || request.authorization.is_none() {
            return;
        }
        if request.method == Method::HEAD
            && let Ok(answer) = self.send(http, Request { method: Method::GET, ..request }).await
        {
            let secrets = answer.secrets.clone();
            said = answer::reason(&read_some(answer.response).await, &secrets);
        }
        if let Some(said) = said {
            reason.push_str(&format!(" ({said})"));
        }
    }

    /// Logs in to push where the API's base asks for that. A registry that lets everybody read may
    /// answer a later request with 403.
    ///
    /// # Errors
    /// As of [`Self::ask`].
    pub async fn log_in(&self, http: &Http) -> Result<(), Failure> {
        let url = self.url_below(http, "")?;
        let (_, generation) = self.login.current().await;
        let answer = self.send(http, Request::new(Method::GET, url)).await?;
        if is_refused(&answer) {
            let url = answer.response.url().clone();
            let (challenge, _) = challenge_of(answer).await?;
            return self.renew(http, &url, &challenge, generation).await;
        }
        // Quay says the word `true`, and calls it a web page.
        let foreign = answer.is_web_page().then(|| answer.not_of_a_registry());
        let body = read_some(answer.response).await;
        match foreign {
            Some(error) if body.trim_ascii_start().starts_with(b"<") => Err(error.into()),
            _ => Ok(()),
        }
    }

    async fn renew(
        &self,
        http: &Http,
        url: &Url,
        challenge: &HeaderMap,
        generation: u64,
    ) -> Result<(), Failure> {
        let (host, repository, actions) = (&self.host, &self.repository, self.actions);
        let place = Place { host, repository, url, actions };
        self.login.renew(http, &place, challenge, generation).await
    }

    /// Sends, and finds out which of the two a loopback port speaks: plain HTTP
    /// first, and TLS where something answers but not in HTTP, or with the 400
    /// that servers of TLS give to HTTP.
    async fn send(&self, http: &Http, request: Request) -> Result<Answer, Failure> {
        let open = request.url.scheme() == "http"
            && is_loopback(&self.host)
            && !self.settled.load(Ordering::Relaxed);
        if !open {
            return http.send(request).await;
        }
        let plain = http.send(request.clone()).await;
        let other = match &plain {
            Ok(answer) => answer.response.status() == StatusCode::BAD_REQUEST,
            Err(failure) => failure.other_protocol,
        };
        if other {
            let mut request = request;
            // Cannot fail between these two schemes.
            let _ = request.url.set_scheme("https");
            let answer = http.send(request).await;
            let speaks_tls = match &answer {
                Ok(_) => true,
                Err(failure) => !is_no_tls(&failure.error, &self.host),
            };
            if speaks_tls {
                self.tls.store(true, Ordering::Relaxed);
                self.settled.store(true, Ordering::Relaxed);
                return answer;
            }
        }
        if plain.is_ok() {
            self.settled.store(true, Ordering::Relaxed);
        }
        plain
    }

    /// The URL of `path` below the repository.
    pub fn url(&self, http: &Http, path: &str) -> Result<Url, SourceError> {
        self.url_below(http, &format!("{}/{path}", self.repository))
    }

    /// The URL of `path` below the API's base.
    fn url_below(&self, http: &Http, path: &str) -> Result<Url, SourceError> {
        // Docker Hub's API is not where its name says.
        let host = if self.host == "docker.io" { "registry-1.docker.io" } else { &self.host };
        let invalid = || ReferenceError {
            text: format!("{host}/{}", self.repository),
            reason: "it cannot be written as a URL",
        };
        let text = format!("http://{host}/v2/{path}");
        let mut url = Url::parse(&text).map_err(|_| invalid())?;
        if http.check_scheme(None, &url).is_err() || self.tls.load(Ordering::Relaxed) {
            let text = format!("https://{host}/v2/{path}");
            url = Url::parse(&text).map_err(|_| invalid())?;
        }
        if let Some(namespace) = &self.namespace {
            // As containerd asks mirrors: one that serves several registries needs it.
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        Ok(url)
    }
}

/// Whether the registry itself asks for other credentials.
fn is_refused(answer: &Answer) -> bool {
    answer.response.status() == StatusCode::UNAUTHORIZED && !answer.foreign
}

/// The headers of a 401, and its reason. A page for people without a word on how programs log in is
/// no registry's.
async fn challenge_of(answer: Answer) -> Result<(HeaderMap, Option<String>), SourceError> {
    let headers = answer.response.headers().clone();
    if answer.is_web_page() && !headers.contains_key(WWW_AUTHENTICATE) {
        return Err(answer.not_of_a_registry());
    }
    let said = answer::reason(&read_some(answer.response).await, &answer.secrets);
    Ok((headers, said))
}

/// Whether `host` did not even answer a TLS handshake as TLS.
fn is_no_tls(error: &SourceError, host: &str) -> bool {
    match error {
        SourceError::PlainHttpRefused { host: refused } => refused == host,
        SourceError::Unreachable { .. } | SourceError::UnknownHost { .. } => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;
    use flipside_core::cancel::Cancel;
    use flipside_core::host::Root;

    fn url(host: &str, plain: &[&str]) -> String {
        let mut options = Options::new(Root::live(), Cancel::new());
        options.plain_http = plain.iter().map(|&p| p.to_owned()).collect();
        let reference: Reference = format!("{host}/a/b:1").parse().unwrap();
        let endpoint = Endpoint::registry(&reference);
        endpoint.url(&Http::new(options), "manifests/1").unwrap().to_string()
    }

    #[test]
    fn only_loopback_and_listed_hosts_are_asked_without_tls() {
        for (host, plain, expected) in [
            ("r.example", &[][..], "https://r.example/v2/a/b/manifests/1"),
            ("r.example", &["r.example"], "http://r.example/v2/a/b/manifests/1"),
            ("r.example:5000", &["R.example:5000"], "http://r.example:5000/v2/a/b/manifests/1"),
            ("r.example:5000", &["r.example"], "https://r.example:5000/v2/a/b/manifests/1"),
            ("localhost:5000", &[], "http://localhost:5000/v2/a/b/manifests/1"),
            ("[::1]:5000", &[], "http://[::1]:5000/v2/a/b/manifests/1"),
            ("10.0.0.1", &["10.0.0.2"], "https://10.0.0.1/v2/a/b/manifests/1"),
            ("docker.io", &[], "https://registry-1.docker.io/v2/a/b/manifests/1"),
        ] {
            assert_eq!(url(host, plain), expected);
        }
    }

    #[test]
    fn mirrors_may_have_a_prefix_and_are_told_the_registry() {
        let reference: Reference = "r.example/a/b:1".parse().unwrap();
        let http = Http::new(Options::new(Root::live(), Cancel::new()));
        for (mirror, expected) in [
            ("m.example", "https://m.example/v2/a/b/blobs/x?ns=r.example"),
            ("https://M.example:1/", "https://m.example:1/v2/a/b/blobs/x?ns=r.example"),
            ("m.example/cache/r", "https://m.example/v2/cache/r/a/b/blobs/x?ns=r.example"),
        ] {
            let endpoint = Endpoint::mirror(mirror, &reference).unwrap();
            assert_eq!(endpoint.url(&http, "blobs/x").unwrap().as_str(), expected);
        }
        for bad in ["", "m", "http://m.example", "m.example/A", "u:p@m.example", "m.example/a?b"] {
            assert!(Endpoint::mirror(bad, &reference).is_err(), "{bad}");
        }
    }
}
