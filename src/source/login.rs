// SPDX-License-Identifier: MIT OR Apache-2.0

//! Logging in: anonymous, Basic (RFC 7617) and the token scheme of registries
//! (distribution, "Token Authentication Specification").

use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Url};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::SourceError;
use super::answer::{Answer, failed};
use super::body;
use super::credentials::{self, Credentials, Secret};
use super::http::{Body, Http, Request, authority, same_origin};
use super::realm::may_have_credentials;
use super::retry::Failure;

/// What a token for a pull lets its holder do.
pub(super) const PULL: &str = "pull";
/// The same for a push.
pub(super) const PUSH: &str = "pull,push";
/// The most bytes that a token service may answer.
const TOKEN_LIMIT: u64 = 256 << 10;

/// What one registry is shown, for all who ask it at the same time.
#[derive(Default)]
pub(super) struct Login(Mutex<State>);

#[derive(Default, Clone)]
struct State {
    header: Option<HeaderValue>,
    /// Where the credentials behind it are from.
    origin: Option<String>,
    /// How often the header was replaced.
    generation: u64,
}

/// Whom to log in to, and for what.
pub(super) struct Place<'a> {
    /// The registry, for the credentials' key.
    pub host: &'a str,
    pub repository: &'a str,
    /// What was asked when the challenge came.
    pub url: &'a Url,
    /// [`PULL`] or [`PUSH`].
    pub actions: &'static str,
}

/// A `WWW-Authenticate` challenge that this program can answer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Challenge {
    Basic,
    /// The scope that it names does not count: see [`fetch`].
    Bearer {
        realm: String,
        service: Option<String>,
    },
}

impl Login {
    /// The header to send now, and its generation.
    pub async fn current(&self) -> (Option<HeaderValue>, u64) {
        let state = self.0.lock().await;
        (state.header.clone(), state.generation)
    }

    /// What to say where the registry refuses what it was shown.
    pub async fn refusal(&self, http: &Http) -> String {
        refused(http, self.0.lock().await.origin.as_deref())
    }

    /// Answers the challenge of a 401 to a request that carried the header of
    /// `generation`. Where another caller has done so by now, nothing is asked.
    ///
    /// # Errors
    /// [`SourceError::Unauthorized`] and what a token service can fail with.
    pub async fn renew(
        &self,
        http: &Http,
        place: &Place<'_>,
        headers: &HeaderMap,
        generation: u64,
    ) -> Result<(), Failure> {
        let mut state = self.0.lock().await;
        if state.generation != generation {
            return Ok(());
        }
        let (header, origin) = answer(http, place, headers).await?;
        // Credentials that are no header at all are as wrong as others.
        let header = header.ok_or_else(|| {
            let reason = "the credentials hold characters that no header may have".to_owned();
            SourceError::Unauthorized { host: place.host.to_owned(), reason }
        })?;
        // The same once more would be refused once more.
        if state.header.as_ref() == Some(&header) {
            let reason = refused(http, origin.as_deref());
            return Err(SourceError::Unauthorized { host: place.host.to_owned(), reason }.into());
        }
        let generation = state.generation.wrapping_add(1);
        *state = State { header: Some(header), origin, generation };
        Ok(())
    }
}

/// What answers a challenge, and where the credentials behind it are from. `None` where they make
/// no header.
///
/// # Errors
/// As of [`Login::renew`].
async fn answer(
    http: &Http,
    place: &Place<'_>,
    headers: &HeaderMap,
) -> Result<(Option<HeaderValue>, Option<String>), Failure> {
    let host = place.host.to_owned();
    let found = credentials::find(
        &http.options,
        &|name| std::env::var_os(name),
        place.host,
        place.repository,
    )?;
    let Some(challenge) = challenge(headers) else {
        let reason = "it names no way to log in that is known here".to_owned();
        return Err(SourceError::Unauthorized { host, reason }.into());
    };
    let origin = found.as_ref().map(|found| found.origin.clone());
    let header = match (challenge, found) {
        (_, Some(Credentials { secret: Secret::RegistryToken(token), .. })) => bearer(&token),
        (
            Challenge::Basic,
            Some(Credentials { secret: Secret::Password { username, password }, .. }),
        ) => basic(&username, &password),
        (Challenge::Basic, _) => {
            let reason = refused(http, None);
            return Err(SourceError::Unauthorized { host, reason }.into());
        }
        (Challenge::Bearer { realm, service }, found) => {
            bearer(&fetch(http, place, &realm, service, found.as_ref()).await?)
        }
    };
    Ok((header, origin))
}

/// What to say where credentials do not suffice.
fn refused(http: &Http, origin: Option<&str>) -> String {
    match origin {
        Some(origin) => format!("those from {origin} are refused"),
        None => credentials::searched(&http.options, &|name| std::env::var_os(name)),
    }
}

fn basic(username: &str, password: &str) -> Option<HeaderValue> {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
    secret_header(&format!("Basic {text}"))
}

fn bearer(token: &str) -> Option<HeaderValue> {
    secret_header(&format!("Bearer {token}"))
}

/// A header that no `Debug` shows.
fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The challenge to answer: a token where one is offered.
fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let mut basic = None;
    for header in headers.get_all(WWW_AUTHENTICATE) {
        let Ok(text) = header.to_str() else { continue };
        for challenge in http_auth::parse_challenges(text).unwrap_or_default() {
            let parameter = |name: &str| {
                let found = challenge.params.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.to_unescaped()).filter(|v| !v.is_empty())
            };
            if challenge.scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = parameter("realm")
            {
                return Some(Challenge::Bearer { realm, service: parameter("service") });
            }
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Challenge::Basic);
            }
        }
    }
    basic
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

/// A token from the token service, for the repository alone. The scope that the registry names does
/// not count: it could have a token made that opens more.
async fn fetch(
    http: &Http,
    place: &Place<'_>,
    realm: &str,
    service: Option<String>,
    found: Option<&Credentials>,
) -> Result<String, Failure> {
    let url = token_service(place, realm)?;
    http.check_scheme(Some(place.url), &url)?;
    if let Some(found) = found
        && !may_have_credentials(place.host, place.url, &url, &http.options.token_realms)
    {
        let (host, realm) = (place.host.to_owned(), authority(&url));
        let origin = found.origin.clone();
        return Err(SourceError::TokenRealmRefused { host, realm, origin }.into());
    }
    let scope = format!("repository:{}:{}", place.repository, place.actions);
    let mut parameters = vec![("scope", scope)];
    parameters.extend(service.map(|service| ("service", service)));
    let mut request = Request {
        // A token service is shown this host's certificate only where it is the registry.
        identified: same_origin(place.url, &url),
        ..Request::new(Method::GET, url)
    };
    match found.map(|f| &f.secret) {
        Some(Secret::IdentityToken(token)) => {
            // The OAuth2 form of the same service, for refresh tokens.
            parameters.push(("grant_type", "refresh_token".to_owned()));
            parameters.push(("client_id", "flipside".to_owned()));
            parameters.push(("refresh_token", token.clone()));
            let mut form = request.url.clone();
            form.query_pairs_mut().clear().extend_pairs(&parameters);
            request.body = form.query().map(|form| Body::Form(form.to_owned()));
            request.method = Method::POST;
        }
        Some(Secret::Password { username, password }) => {
            request.url.query_pairs_mut().extend_pairs(&parameters);
            request.authorization = basic(username, password);
        }
        Some(Secret::RegistryToken(_)) | None => {
            request.url.query_pairs_mut().extend_pairs(&parameters);
        }
    }
    let host = authority(&request.url);
    let mut answer = http.send(request).await?;
    if let Some(Secret::IdentityToken(token)) = found.map(|f| &f.secret) {
        answer.secrets.push(token.clone());
    }
    token_of(http, answer, found).await.map_err(|mut failure| {
        tracing::debug!(host, "the token service gave no token");
        match &mut failure.error {
            // A 404 there has nothing to do with the image.
            SourceError::Registry { answer, .. } | SourceError::Unavailable { answer, .. } => {
                answer.push_str(" when asked for a token");
            }
            SourceError::Forbidden { object, .. } => place.repository.clone_into(object),
            _ => {}
        }
        failure
    })
}

/// The address of a token service, without what only this host may decide.
fn token_service(place: &Place<'_>, realm: &str) -> Result<Url, SourceError> {
    let mut url = Url::parse(realm).ok().filter(Url::has_host).ok_or_else(|| {
        let answer = "401 with a token service that is no URL".to_owned();
        SourceError::Registry { host: place.host.to_owned(), answer }
    })?;
    let _ = url.set_username("");
    let _ = url.set_password(None);
    leave_out_scopes(&mut url);
    Ok(url)
}

/// Takes the scopes from the query of a realm.
fn leave_out_scopes(realm: &mut Url) {
    let is_scope = |name: &str| name.eq_ignore_ascii_case("scope");
    if !realm.query_pairs().any(|(name, _)| is_scope(&name)) {
        return;
    }
    let pairs = realm.query_pairs().into_owned();
    let kept: Vec<(String, String)> = pairs.filter(|(name, _)| !is_scope(name)).collect();
    realm.set_query(None);
    if !kept.is_empty() {
        realm.query_pairs_mut().extend_pairs(kept);
    }
}

async fn token_of(
    http: &Http,
    answer: Answer,
    found: Option<&Credentials>,
) -> Result<String, Failure> {
    if !answer.response.status().is_success() {
        let mut failure = failed(answer).await;
        if let SourceError::Unauthorized { reason, .. } | SourceError::Forbidden { reason, .. } =
            &mut failure.error
        {
            *reason = format!("{reason}; {}", refused(http, found.map(|f| f.origin.as_str())));
        }
        return Err(failure);
    }
    if answer.is_web_page() {
        return Err(answer.not_of_a_registry().into());
    }
    let Answer { response, host, .. } = answer;
    let bytes = body::bounded(http, response, &host, "token", TOKEN_LIMIT).await?;
    let token: Option<Token> = serde_json::from_slice(&bytes).ok();
    token
        .map(|t| if t.token.is_empty() { t.access_token } else { t.token })
        .filter(|token| !token.is_empty())
        .ok_or_else(|| {
            SourceError::Registry { host, answer: "200 without a token".to_owned() }.into()
        })
}

/// The challenge in these headers, and the token in this body, as far as there are any.
#[cfg(feature = "testing")]
pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> (bool, bool) {
    (challenge(headers).is_some(), serde_json::from_slice::<Token>(body).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for text in texts {
            headers.append(WWW_AUTHENTICATE, text.parse().unwrap());
        }
        challenge(&headers)
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.into(), service: service.map(Into::into) })
        };
        assert_eq!(
            of(&[r#"Bearer realm="https://a/t",service="r",scope="repository:x:pull""#]),
            bearer("https://a/t", Some("r"))
        );
        assert_eq!(
            of(&[r#"bearer Realm="https://a/t", error="insufficient_scope""#]),
            bearer("https://a/t", None)
        );
        let both = [r#"Basic realm="x""#, r#"Bearer realm="https://a/t",service="""#];
        assert_eq!(of(&both), bearer("https://a/t", None));
        assert_eq!(of(&["Negotiate", r#"Basic realm="x""#]), Some(Challenge::Basic));
        for unknown in [&["Negotiate"][..], &["Bearer service=\"x\""], &["="], &[""], &[]] {
            assert_eq!(of(unknown), None, "{unknown:?}");
        }
    }

    #[test]
    fn a_realm_brings_no_scope_of_its_own() {
        for (realm, expected) in [
            ("https://a/t", "https://a/t"),
            ("https://a/t?x=1&y", "https://a/t?x=1&y"),
            ("https://a/t?scope=repository:*:*", "https://a/t"),
            ("https://a/t?x=1&Scope=a&%73cope=b&y=2", "https://a/t?x=1&y=2"),
        ] {
            let mut url = Url::parse(realm).unwrap();
            leave_out_scopes(&mut url);
            assert_eq!(url.as_str(), expected);
        }
    }

    #[test]
    fn credentials_that_fit_no_header_are_none() {
        assert!(bearer("a\r\nX: y").is_none());
        let header = basic("Aladdin", "open sesame").unwrap();
        assert_eq!(header, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(!format!("{header:?}").contains("QWx"));
    }
}
