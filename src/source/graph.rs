// SPDX-License-Identifier: MIT OR Apache-2.0

//! Asks a Cincinnati server for its update graph: `GET {base}/v1/graph`.

use std::time::SystemTime;

use flipside_image::code::Coded as _;
use flipside_image::graph::{GRAPH_LIMIT, Graph};
use flipside_image::{printable, redact};
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use super::http::{Http, Request, authority};
use super::network::Network;
use super::options::Options;
use super::retry::{Failure, Retry, Tries, is_transient, retry_after, status_text};
use super::{ReferenceError, SourceError, body};

/// The most bytes of an error that are read.
const ERROR_LIMIT: u64 = 16 << 10;

/// What such a server says in place of a graph.
#[derive(Deserialize)]
struct ErrorBody {
    kind: String,
    value: String,
}

/// The graph of the server at `base`, asked for with `parameters`; those that `base` has itself
/// come first.
///
/// # Errors
/// [`SourceError::GraphUnreachable`] where it is down; any other [`SourceError`] where it refuses, or
/// answers with what is no graph.
pub fn fetch_graph(
    base: &str,
    parameters: &[(&str, String)],
    options: &Options,
) -> Result<Graph, SourceError> {
    let url = address(base, parameters)
        .ok_or_else(|| ReferenceError::new(base, "track.graph is no address"))?;
    let http = Http::new(options.clone());
    http.check_scheme(None, &url)?;
    let timing = http.timing();
    let work = async {
        let mut tries = Tries::new(timing);
        loop {
            match ask(&http, &url).await {
                Ok(graph) => return Ok(graph),
                Err(failure) => tokio::time::sleep(tries.next(failure)?).await,
            }
        }
    };
    let late = SourceError::Unreachable {
        host: authority(&url),
        reason: format!("no whole answer in {} s", timing.total.as_secs_f32()),
    };
    let work = async { tokio::time::timeout(timing.total, work).await.unwrap_or(Err(late)) };
    Network::new()?.run(&options.stop, work).map_err(|error| unreachable(error, &url))
}

/// An error of the server at `url`: one that time may mend names the server as what it is.
fn unreachable(error: SourceError, url: &Url) -> SourceError {
    let Some(transient) = error.transient() else { return error };
    let reason = match error {
        SourceError::GraphUnreachable { .. } => return error,
        SourceError::Unreachable { reason, .. } => reason,
        other => other.to_string(),
    };
    SourceError::GraphUnreachable { host: authority(url), reason, wait: transient.retry_after }
}

fn address(base: &str, parameters: &[(&str, String)]) -> Option<Url> {
    let mut url = Url::parse(base).ok().filter(Url::has_host)?;
    let path = format!("{}/v1/graph", url.path().trim_end_matches('/'));
    url.set_path(&path);
    let own: Vec<String> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
    for (name, value) in parameters {
        if !own.iter().any(|other| other == name) {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    Some(url)
}

async fn ask(http: &Http, url: &Url) -> Result<Graph, Failure> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let request = Request { identified: false, headers, ..Request::new(Method::GET, url.clone()) };
    let answer = http.send(request).await?;
    let (status, is_page) = (answer.response.status(), answer.is_web_page());
    let host = answer.host;
    if status != StatusCode::OK {
        let wait = retry_after(answer.response.headers(), SystemTime::now());
        let body = body::bounded(http, answer.response, &host, "graph error", ERROR_LIMIT).await;
        let said = body.ok().and_then(|body| serde_json::from_slice::<ErrorBody>(&body).ok());
        let words = said.map(|said| {
            let words = without_secrets(&format!(" ({}: {})", said.kind, said.value), url);
            printable::line(&words, 200)
        });
        let words = words.map(|words| format!(" {words}")).unwrap_or_default();
        let answer = format!("{}{words}", status_text(status));
        if !is_transient(status) {
            return Err(SourceError::GraphRefused { host, answer }.into());
        }
        let reason = format!("it answers {answer}");
        let error = SourceError::GraphUnreachable { host, reason, wait };
        let retry = wait.map_or(Retry::BackOff, Retry::After);
        return Err(Failure { retry, ..Failure::transient(error) });
    }
    if is_page {
        let reason =
            "it answers with a web page; log in to this network, or check the proxy".into();
        return Err(SourceError::GraphUnreachable { host, reason, wait: None }.into());
    }
    let bytes = body::bounded(http, answer.response, &host, "update graph", GRAPH_LIMIT).await?;
    Graph::parse(&bytes).map_err(|what| {
        let what = printable::line(&what, 200);
        SourceError::GraphMalformed { host, what }.into()
    })
}

/// What the server says, without what it was sent in secret.
fn without_secrets(said: &str, url: &Url) -> String {
    let pairs = url.query_pairs().filter(|(name, _)| redact::is_secret_parameter(name));
    let values = pairs.map(|(_, value)| value).filter(|value| !value.is_empty());
    values.fold(redact::redact(said), |said, value| said.replace(value.as_ref(), "***"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_repeats_what_it_was_sent_gives_no_secret_away() {
        let url = Url::parse("https://u.example/v1/graph?group=edge&access_token=s3cret").unwrap();
        let said = without_secrets("token s3cret of https://u.example/?sig=x&a=b is over", &url);
        assert_eq!(said, "token *** of https://u.example/?*** is over");
    }

    #[test]
    fn parameters_of_the_setting_come_before_those_of_the_host() {
        let parameters =
            [("group", "default".to_owned()), ("os_checksum", "r/a@sha256:1".to_owned())];
        for (base, expected) in [
            (
                "https://u.example",
                "https://u.example/v1/graph?group=default&os_checksum=r%2Fa%40sha256%3A1",
            ),
            (
                "https://u.example/a/",
                "https://u.example/a/v1/graph?group=default&os_checksum=r%2Fa%40sha256%3A1",
            ),
            (
                "https://u.example/?group=edge&x=y",
                "https://u.example/v1/graph?group=edge&x=y&os_checksum=r%2Fa%40sha256%3A1",
            ),
        ] {
            assert_eq!(address(base, &parameters).unwrap().as_str(), expected);
        }
        assert_eq!(address("no address", &parameters), None);
    }
}
