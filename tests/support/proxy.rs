// SPDX-License-Identifier: MIT OR Apache-2.0

//! A small HTTP/1.1 proxy in front of a registry that plays everything that
//! networks and servers do wrong, and remembers what it was asked.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::referrers::Referrers;
use super::script::{End, Script};
use super::tokens::Tokens;

/// What goes wrong with an answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// Nothing more comes after so many bytes of the body.
    Stall(usize),
    /// So many bytes come at a time, and then none for so many milliseconds.
    Trickle(usize, u64),
    /// Nothing comes at all.
    Silence,
    /// The head of the answer comes after so many milliseconds.
    Late(u64),
    /// Another status, with these headers and this body.
    Status(u16, Vec<(&'static str, String)>, String),
    /// The whole blob, whatever was asked for.
    IgnoreRange,
    /// Every byte moved by one from what Content-Range says.
    WrongContentRange,
    /// A 206 without any Content-Range, as of several ranges.
    NoContentRange,
    /// At most so many bytes, with an honest Content-Range.
    ShortRange(usize),
    /// A body that ends properly after so many bytes, framed as chunks.
    ShortBody(usize),
    /// One byte of the body is another.
    Corrupt(usize),
    /// A redirect to this place.
    Redirect(String),
    /// Without this header.
    Without(&'static str),
    /// A body of so many bytes, without Content-Length.
    Flood(usize),
    /// The connection ends after so many bytes of the request's body.
    CutRequest(usize),
    /// The request is answered, and the connection ends before the answer.
    LostAnswer,
    /// An upload goes on at this `host:port`.
    Elsewhere(String),
    /// With this header.
    With(&'static str, &'static str),
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// With the query.
    pub path: String,
    pub authorization: Option<String>,
    pub range: Option<String>,
    pub content_range: Option<String>,
    pub user_agent: Option<String>,
    /// By a client certificate.
    pub identified: bool,
    /// Of a POST.
    pub body: String,
    /// How many bytes of the body came.
    pub length: usize,
}

/// A client that has shown a certificate.
#[derive(Clone)]
struct Identified;

#[derive(Default)]
struct State {
    rules: Vec<(String, usize, Fault)>,
    seen: Vec<Seen>,
    sent: Arc<AtomicUsize>,
    tokens: Option<Tokens>,
    referrers: Option<Referrers>,
    largest: Option<usize>,
}

/// A proxy, ended with this value.
pub struct Proxy {
    address: String,
    state: Arc<Mutex<State>>,
    _runtime: tokio::runtime::Runtime,
}

impl Proxy {
    /// In front of `upstream` (`host:port`), in plain HTTP.
    pub fn start(upstream: &str) -> Self {
        Self::serve(upstream, None)
    }

    /// The same with TLS.
    pub fn start_tls(upstream: &str, tls: tokio_rustls::rustls::ServerConfig) -> Self {
        Self::serve(upstream, Some(tls))
    }

    fn serve(upstream: &str, tls: Option<tokio_rustls::rustls::ServerConfig>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = (upstream.to_owned(), address.clone(), Arc::clone(&state));
        let acceptor = tls.map(|tls| tokio_rustls::TlsAcceptor::from(Arc::new(tls)));
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (shared, acceptor) = (shared.clone(), acceptor.clone());
                let is_tls = acceptor.is_some();
                tokio::spawn(async move {
                    let identified = Arc::new(AtomicBool::new(false));
                    let is_identified = Arc::clone(&identified);
                    let service = service_fn(move |mut request: Request<Incoming>| {
                        let shared = shared.clone();
                        if is_identified.load(Ordering::Relaxed) {
                            request.extensions_mut().insert(Identified);
                        }
                        if is_tls {
                            let https = HeaderValue::from_static("https");
                            request.headers_mut().insert("x-forwarded-proto", https);
                        }
                        async move { answer(&shared.0, &shared.1, &shared.2, request).await }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = match acceptor {
                        None => http.serve_connection(TokioIo::new(stream), service).await,
                        Some(acceptor) => match acceptor.accept(stream).await {
                            Ok(stream) => {
                                let shown = stream.get_ref().1.peer_certificates().is_some();
                                identified.store(shown, Ordering::Relaxed);
                                http.serve_connection(TokioIo::new(stream), service).await
                            }
                            Err(_) => Ok(()),
                        },
                    };
                });
            }
        });
        Self { address, state, _runtime: runtime }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The next `times` answers to requests whose method and path (`GET /v2/...`) contain `path` go
    /// wrong like this.
    pub fn fault(&self, path: &str, times: usize, fault: Fault) -> &Self {
        self.state.lock().unwrap().rules.push((path.to_owned(), times, fault));
        self
    }

    /// From now on a token is wanted.
    pub fn want_tokens(&self, tokens: Tokens) {
        self.state.lock().unwrap().tokens = Some(tokens);
    }

    /// From now on there is a referrers API, with so many on a page; 0 is all.
    pub fn has_referrers(&self, page: usize) {
        self.state.lock().unwrap().referrers = Some(Referrers { page, ..Referrers::default() });
    }

    /// From now on bodies of more bytes are refused, as nginx does it.
    pub fn limit_bodies(&self, bytes: usize) {
        self.state.lock().unwrap().largest = Some(bytes);
    }

    /// What was asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    /// Requests so far whose path contains `path`.
    pub fn count(&self, path: &str) -> usize {
        self.seen().iter().filter(|s| s.path.contains(path)).count()
    }

    /// How many bytes of bodies were answered with, of those that came from the registry.
    pub fn sent(&self) -> usize {
        self.state.lock().unwrap().sent.load(Ordering::SeqCst)
    }

    /// Forgets what was asked.
    pub fn forget(&self) {
        let mut state = self.state.lock().unwrap();
        state.seen = Vec::new();
        state.sent = Arc::default();
    }

    /// Forgets that too, and what was to go wrong.
    pub fn calm(&self) {
        *self.state.lock().unwrap() = State::default();
    }
}

type Answer = Response<Script>;

impl State {
    /// The rule for a request.
    fn rule(&mut self, line: &str) -> Option<&mut (String, usize, Fault)> {
        self.rules.iter_mut().find(|rule| rule.1 > 0 && line.contains(&rule.0))
    }

    /// How many bytes of a request's body are taken before the connection ends.
    fn cut(&mut self, line: &str) -> Option<usize> {
        let rule = self.rule(line)?;
        let Fault::CutRequest(bytes) = rule.2 else { return None };
        rule.1 -= 1;
        Some(bytes)
    }
}

/// The whole of a body, or its beginning.
async fn take(mut body: Incoming, most: Option<usize>) -> Bytes {
    let mut taken = Vec::new();
    while most.is_none_or(|most| taken.len() < most)
        && let Some(Ok(frame)) = body.frame().await
    {
        taken.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
    }
    taken.into()
}

async fn answer(
    upstream: &str,
    address: &str,
    state: &Mutex<State>,
    request: Request<Incoming>,
) -> io::Result<Answer> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().unwrap().to_string();
    let line = format!("{} {path}", parts.method);
    let cut = state.lock().unwrap().cut(&line);
    let body = take(body, cut).await;
    let header = |name: HeaderName| {
        parts.headers.get(name).map(|v| v.to_str().unwrap_or_default().to_owned())
    };
    let authorization = header(header::AUTHORIZATION);
    let mut subject = None;
    let fault = {
        let mut state = state.lock().unwrap();
        state.seen.push(Seen {
            method: parts.method.to_string(),
            path: path.clone(),
            authorization: authorization.clone(),
            range: header(header::RANGE),
            content_range: header(header::CONTENT_RANGE),
            user_agent: header(header::USER_AGENT),
            identified: parts.extensions.get::<Identified>().is_some(),
            body: String::from_utf8_lossy(&body).into_owned(),
            length: body.len(),
        });
        if cut.is_some() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if state.largest.is_some_and(|largest| body.len() > largest) {
            let page = "<html>413 Request Entity Too Large</html>";
            let fault = Fault::Status(413, vec![("content-type", "text/html".into())], page.into());
            return Ok(fault.without_upstream().unwrap());
        }
        let fault = state.rule(&line).map(|rule| {
            rule.1 -= 1;
            rule.2.clone()
        });
        if fault.is_none()
            && let Some(tokens) = &mut state.tokens
            && let Some(refusal) = tokens.check(&path, address, authorization.as_deref())
        {
            return Ok(refusal);
        }
        if fault.is_none()
            && let Some(referrers) = &mut state.referrers
        {
            if parts.method == Method::PUT && path.contains("/manifests/") {
                subject = referrers.note(&body);
            }
            if let Some(answer) = referrers.answer(&path) {
                return Ok(answer);
            }
        }
        fault
    };
    if let Some(answer) = fault.as_ref().and_then(Fault::without_upstream) {
        return Ok(answer);
    }
    if matches!(fault, Some(Fault::Silence)) {
        std::future::pending::<()>().await;
    }
    if let Some(Fault::Late(milliseconds)) = fault {
        tokio::time::sleep(std::time::Duration::from_millis(milliseconds)).await;
    }
    let mut headers = parts.headers;
    headers.remove(header::AUTHORIZATION);
    if matches!(fault, Some(Fault::IgnoreRange)) {
        headers.remove(header::RANGE);
    }
    let head = parts.method == Method::HEAD;
    let (mut parts, bytes) = ask(upstream, parts.method, &path, headers, body).await;
    if let Some(subject) = subject {
        parts.headers.insert("oci-subject", subject.parse().unwrap());
    }
    let mut script = Script::whole(bytes);
    if matches!(fault, Some(Fault::LostAnswer)) {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    if let Some(fault) = fault {
        fault.apply(&mut parts, &mut script);
    }
    if head {
        script = Script::whole(Bytes::new());
    }
    script.sent = Arc::clone(&state.lock().unwrap().sent);
    Ok(Response::from_parts(parts, script))
}

async fn ask(
    upstream: &str,
    method: Method,
    path: &str,
    headers: HeaderMap,
    body: Bytes,
) -> (hyper::http::response::Parts, Bytes) {
    let stream = TcpStream::connect(upstream).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().unwrap();
    *request.headers_mut() = headers;
    let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
    // Registries break off where a blob is shorter than they were told.
    let bytes = body.collect().await.map(|body| body.to_bytes());
    (parts, bytes.unwrap_or_default())
}

impl Fault {
    fn without_upstream(&self) -> Option<Answer> {
        let mut response = Response::new(Script::whole(Bytes::new()));
        match self {
            Self::Status(status, headers, body) => {
                *response.status_mut() = StatusCode::from_u16(*status).unwrap();
                for (name, value) in headers {
                    response.headers_mut().insert(*name, value.parse().unwrap());
                }
                *response.body_mut() = Script::whole(body.clone().into_bytes().into());
            }
            Self::Redirect(place) => {
                *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
                response.headers_mut().insert(header::LOCATION, place.parse().unwrap());
            }
            Self::Flood(bytes) => {
                let body = Script::whole(vec![b' '; *bytes].into());
                *response.body_mut() = Script { framed: true, ..body };
            }
            _ => return None,
        }
        Some(response)
    }

    fn apply(&self, parts: &mut hyper::http::response::Parts, script: &mut Script) {
        let range = |parts: &hyper::http::response::Parts| {
            let text = parts.headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
            let (first, rest) = text.strip_prefix("bytes ")?.split_once('-')?;
            let (last, total) = rest.split_once('/')?;
            Some([first, last, total].map(|n| n.parse::<usize>().unwrap()))
        };
        let set = |parts: &mut hyper::http::response::Parts, name, value: String| {
            parts.headers.insert(name, HeaderValue::from_str(&value).unwrap());
        };
        match self {
            Self::Cut(bytes) => script.end_after(*bytes, End::Error),
            Self::Trickle(bytes, pause) => {
                script.pace = Some((*bytes, std::time::Duration::from_millis(*pause)));
            }
            Self::Stall(bytes) => script.end_after(*bytes, End::Never),
            Self::ShortBody(bytes) => {
                parts.headers.remove(header::CONTENT_LENGTH);
                script.framed = true;
                script.end_after(*bytes, End::Proper);
            }
            Self::ShortRange(bytes) => {
                if let Some([first, _, total]) = range(parts) {
                    script.end_after(*bytes, End::Proper);
                    let length = script.bytes.len();
                    let last = first + length - 1;
                    set(parts, header::CONTENT_RANGE, format!("bytes {first}-{last}/{total}"));
                    set(parts, header::CONTENT_LENGTH, length.to_string());
                }
            }
            Self::WrongContentRange => {
                if let Some([first, last, total]) = range(parts) {
                    let value = format!("bytes {}-{}/{total}", first.saturating_sub(1), last - 1);
                    set(parts, header::CONTENT_RANGE, value);
                }
            }
            Self::NoContentRange => {
                parts.headers.remove(header::CONTENT_RANGE);
            }
            Self::Corrupt(at) => {
                let mut bytes = script.bytes.to_vec();
                if let Some(byte) = bytes.get_mut(*at) {
                    *byte ^= 1;
                }
                script.bytes = bytes.into();
            }
            Self::Elsewhere(address) => {
                let place = parts.headers[header::LOCATION].to_str().unwrap().to_owned();
                let (scheme, rest) = place.split_once("://").unwrap();
                let (_, path) = rest.split_once('/').unwrap();
                set(parts, header::LOCATION, format!("{scheme}://{address}/{path}"));
            }
            Self::With(name, value) => {
                parts.headers.insert(*name, HeaderValue::from_static(value));
            }
            Self::Without(name) => {
                parts.headers.remove(*name);
            }
            _ => {}
        }
    }
}
