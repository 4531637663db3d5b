// SPDX-License-Identifier: MIT OR Apache-2.0

//! Certificates for one registry, as podman and Docker keep them (containers-certs.d(5)).

use std::path::{Path, PathBuf};

use flipside_core::host::{Root, trust};
use flipside_image::reference::split_port;

use super::SourceError;

/// Where podman and Docker keep them; of a host that has both, the first counts.
const DIRECTORIES: [&str; 2] = ["/etc/containers/certs.d", "/etc/docker/certs.d"];
/// The most files of such a directory that are looked at.
const FILES: usize = 1000;

/// What there is for one host.
#[derive(Debug, Default)]
pub struct HostCertificates {
    /// PEM files of authorities, `*.crt`.
    pub authorities: Vec<PathBuf>,
    /// A client certificate and its key, `NAME.cert` and `NAME.key`, the first by name.
    pub client: Option<(PathBuf, PathBuf)>,
}

impl HostCertificates {
    /// Those for `host[:port]`; `None` where it has no directory.
    ///
    /// # Errors
    /// [`SourceError::TlsFile`]: a directory that cannot be read, a file that others can change, or
    /// half a pair.
    pub fn find(root: &Root, host: &str) -> Result<Option<Self>, SourceError> {
        match directory(root, host) {
            Some(directory) => Self::read(root, &directory).map(Some),
            None => Ok(None),
        }
    }

    fn read(root: &Root, directory: &Path) -> Result<Self, SourceError> {
        let unusable = |what, path: &Path, reason: String| SourceError::TlsFile {
            setting: what,
            path: path.to_owned(),
            reason,
        };
        let listed = std::fs::read_dir(directory).and_then(|entries| {
            entries.take(FILES).map(|entry| entry.map(|e| e.path())).collect::<Result<Vec<_>, _>>()
        });
        let mut files = listed.map_err(|e| unusable("the directory", directory, e.to_string()))?;
        files.sort();
        let mut found = Self::default();
        for path in &files {
            let beside = match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => None,
                Some("cert") => Some("key"),
                Some("key") => Some("cert"),
                _ => continue,
            };
            trust::check(root, path).map_err(|e| unusable("the file", path, e.to_string()))?;
            let Some(beside) = beside else {
                found.authorities.push(path.clone());
                continue;
            };
            let other = path.with_extension(beside);
            if !files.contains(&other) {
                let name = other.file_name().unwrap_or_default().display();
                let reason = format!("there is no {name} beside it (authorities end in .crt)");
                return Err(unusable("the file", path, reason));
            }
            found
                .client
                .get_or_insert_with(|| (path.with_extension("cert"), path.with_extension("key")));
        }
        Ok(found)
    }
}

/// The directory of `host[:port]`.
pub(super) fn directory(root: &Root, host: &str) -> Option<PathBuf> {
    let with_port = split_port(host).1.is_none().then(|| format!("{host}:443"));
    let paths = DIRECTORIES.iter().flat_map(|directory| {
        let names = [Some(host), with_port.as_deref()].into_iter().flatten();
        names.map(|name| root.path(Path::new(directory).join(name)))
    });
    // `..` would be another directory.
    paths.into_iter().find(|path| !host.starts_with('.') && path.is_dir())
}
