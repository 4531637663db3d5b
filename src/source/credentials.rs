// SPDX-License-Identifier: MIT OR Apache-2.0

//! Credentials in the files of containers-auth.json(5) and Docker's
//! `config.json`. They are looked for only once a registry asks.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use flipside_image::bounded::{self, ENTRIES};
use flipside_image::printable;
use flipside_image::redact::redact_reference;
use serde::Deserialize;

use super::{Options, SourceError, credential_helper};

use super::secret::home;
pub use super::secret::{Credentials, Environment, Secret};

/// The most bytes that a file of credentials may have.
const FILE_LIMIT: u64 = 1 << 20;

/// Those of flipside's own, first place first.
pub const AUTH_FILES: [&str; 2] = ["/etc/flipside/auth.json", "/run/flipside/auth.json"];

/// Base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The credentials for a repository, by the first file that has any.
///
/// # Errors
/// [`SourceError::CredentialsUnreadable`], [`SourceError::HelperFailed`].
pub fn find(
    options: &Options,
    environment: Environment<'_>,
    host: &str,
    repository: &str,
) -> Result<Option<Credentials>, SourceError> {
    for (path, required) in places(options, environment) {
        let Some(file) = read(&path, required)? else { continue };
        let here = File { path: &path, file };
        if let Some(found) = here.find(options, environment, host, repository)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The file that [`find`] takes credentials from, for other programs that log in; `None` where it
/// finds none.
pub fn file(
    options: &Options,
    environment: Environment<'_>,
    host: &str,
    repository: &str,
) -> Option<PathBuf> {
    places(options, environment).into_iter().map(|(path, _)| path).find(|path| {
        let Ok(Some(file)) = read(path, false) else { return false };
        let here = File { path, file };
        here.find(options, environment, host, repository).is_ok_and(|found| found.is_some())
    })
}

/// Where credentials may be, first place first, and whether the file has to exist.
fn places(options: &Options, environment: Environment<'_>) -> Vec<(PathBuf, bool)> {
    let root = &options.root;
    if let Some(file) = &options.auth_file {
        return vec![(root.path(file), true)];
    }
    let variable = |name| environment(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let mut places = Vec::new();
    let mut add = |path: Option<PathBuf>| {
        places.extend(path.filter(|p| p.is_absolute()).map(|p| (root.path(p), false)));
    };
    AUTH_FILES.into_iter().for_each(|file| add(Some(file.into())));
    let home = home(root, environment);
    match variable("REGISTRY_AUTH_FILE") {
        // As with other programs, it replaces the usual places.
        Some(file) => add(Some(file)),
        None => {
            add(variable("XDG_RUNTIME_DIR").map(|d| d.join("containers/auth.json")));
            add(Some("/run/containers/0/auth.json".into()));
            let config = variable("XDG_CONFIG_HOME")
                .or_else(|| home.as_ref().map(|home| home.join(".config")));
            add(config.map(|d| d.join("containers/auth.json")));
        }
    }
    let docker = variable("DOCKER_CONFIG").or_else(|| home.map(|home| home.join(".docker")));
    add(docker.map(|d| d.join("config.json")));
    places
}

/// As Go's tools write it: `null` is as if absent.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct AuthFile {
    #[serde(default, deserialize_with = "bounded::map_or_null::<ENTRIES, _, _>")]
    auths: BTreeMap<String, Option<Entry>>,
    #[serde(default, deserialize_with = "bounded::map_or_null::<ENTRIES, _, _>")]
    cred_helpers: BTreeMap<String, Option<String>>,
    #[serde(default)]
    creds_store: Option<String>,
}

/// For people: where [`find`] looks.
pub(super) fn searched(options: &Options, environment: Environment<'_>) -> String {
    let paths: Vec<PathBuf> = places(options, environment).into_iter().map(|p| p.0).collect();
    let names = |paths: &[PathBuf]| {
        paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    };
    let there: Vec<PathBuf> = paths.iter().filter(|path| path.exists()).cloned().collect();
    match there.is_empty() {
        true => format!("none of {} exists (track.auth_file names another file)", names(&paths)),
        false => format!("there are none for it in {} (track.auth_file)", names(&there)),
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

fn read(path: &Path, required: bool) -> Result<Option<AuthFile>, SourceError> {
    let unreadable =
        |reason: String| SourceError::CredentialsUnreadable { path: path.to_owned(), reason };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => return Ok(None),
        Err(error) => return Err(unreadable(error.to_string())),
    };
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT + 1).read_to_end(&mut bytes).map_err(|e| unreadable(e.to_string()))?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(unreadable(format!("it has more than {FILE_LIMIT} bytes")));
    }
    parse(&bytes).map(Some).map_err(unreadable)
}

fn parse(bytes: &[u8]) -> Result<AuthFile, String> {
    if bytes.trim_ascii().is_empty() {
        return Ok(AuthFile::default());
    }
    // serde's own words may quote a secret, so only the place is told.
    let file = serde_json::from_slice::<Option<AuthFile>>(bytes).map_err(|error| {
        format!("line {}, column {} is not as expected", error.line(), error.column())
    })?;
    Ok(file.unwrap_or_default())
}

/// What a file of these bytes says of a repository, without asking any helper.
#[cfg(feature = "testing")]
pub(super) fn in_bytes(bytes: &[u8], host: &str, repository: &str) -> Option<Secret> {
    let file = AuthFile { cred_helpers: BTreeMap::new(), creds_store: None, ..parse(bytes).ok()? };
    let (_, entry) = longest(&file.auths, &candidates(host, repository))?;
    File { path: Path::new("auth.json"), file: AuthFile::default() }.secret(entry).ok()?
}

struct File<'a> {
    path: &'a Path,
    file: AuthFile,
}

impl File<'_> {
    fn find(
        &self,
        options: &Options,
        environment: Environment<'_>,
        host: &str,
        repository: &str,
    ) -> Result<Option<Credentials>, SourceError> {
        let candidates = candidates(host, repository);
        let ask = |helper: &str| {
            // Docker Hub is stored under its old address.
            let server = if host == "docker.io" { "https://index.docker.io/v1/" } else { host };
            credential_helper::get(helper, server, &options.root, environment, &options.stop)
        };
        if let Some((_, helper)) = longest(&self.file.cred_helpers, &candidates)
            && let Some(found) = ask(helper)?
        {
            return Ok(Some(found));
        }
        if let Some((key, entry)) = longest(&self.file.auths, &candidates)
            && let Some(secret) = self.secret(entry)?
        {
            let key = printable::line(&redact_reference(key), 100);
            let origin = format!("{} (entry {key})", self.path.display());
            return Ok(Some(Credentials { secret, origin }));
        }
        match self.file.creds_store.as_deref() {
            Some(helper) if !helper.is_empty() => ask(helper),
            _ => Ok(None),
        }
    }

    /// The secret of an entry; Docker leaves empty entries beside a `credsStore`.
    fn secret(&self, entry: &Entry) -> Result<Option<Secret>, SourceError> {
        let given = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
        if let Some(token) = given(&entry.registrytoken) {
            return Ok(Some(Secret::RegistryToken(token)));
        }
        if let Some(token) = given(&entry.identitytoken) {
            return Ok(Some(Secret::IdentityToken(token)));
        }
        if let (Some(username), Some(password)) = (given(&entry.username), given(&entry.password)) {
            return Ok(Some(Secret::Password { username, password }));
        }
        let Some(auth) = given(&entry.auth) else { return Ok(None) };
        // Some tools wrap it, as base64(1) does.
        let auth: Vec<u8> = auth.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let decoded = BASE64.decode(auth).ok().and_then(|b| String::from_utf8(b).ok());
        match decoded.as_deref().and_then(|text| text.split_once(':')) {
            Some((username, password)) => Ok(Some(Secret::Password {
                username: username.to_owned(),
                password: password.trim_end_matches('\0').to_owned(),
            })),
            None => Err(SourceError::CredentialsUnreadable {
                path: self.path.to_owned(),
                reason: "an \"auth\" is not base64 of user:password".to_owned(),
            }),
        }
    }
}

/// The names under which credentials may stand, most specific first.
fn candidates(host: &str, repository: &str) -> Vec<String> {
    let mut candidates = Vec::new();
    let mut path = repository;
    while !path.is_empty() {
        candidates.push(format!("{host}/{path}"));
        path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
    candidates.push(host.to_owned());
    candidates
}

/// The most specific candidate's key and value.
fn longest<'a, T>(
    map: &'a BTreeMap<String, Option<T>>,
    candidates: &[String],
) -> Option<(&'a str, &'a T)> {
    let there = |(key, value): (&'a String, &'a Option<T>)| Some((key.as_str(), value.as_ref()?));
    candidates.iter().find_map(|candidate| {
        map.get_key_value(candidate)
            .and_then(there)
            .or_else(|| map.iter().filter_map(there).find(|(key, _)| normalized(key) == *candidate))
    })
}

/// A key without what old tools wrote around it: `https://index.docker.io/v1/`.
fn normalized(key: &str) -> String {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let key = key.trim_end_matches('/');
    let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
    let (host, path) = key.split_once('/').map_or((key, None), |(h, p)| (h, Some(p)));
    let host = match host.to_ascii_lowercase() {
        name if name == "index.docker.io" || name == "registry-1.docker.io" => "docker.io".into(),
        name => name,
    };
    match path {
        Some(path) => format!("{host}/{path}"),
        None => host,
    }
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
