// SPDX-License-Identifier: MIT OR Apache-2.0

//! The files of a host: which are read, in which order, and what each may set.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::fragment::{Fragment, UnknownKeys};
use super::merged::Merged;
use super::overlay::{self, LEVELS, Unusable};
use super::{Config, ConfigError, Place};
use flipside_core::host::{Root, trust};

/// The most bytes that a file may have.
const FILE_LIMIT: u64 = 1 << 20;

/// The file that has no other name, and the directory of drop-ins, in each level.
const FILE: &str = "flipside/flipside.toml";
const DROP_INS: &str = "flipside/flipside.toml.d";

/// What commands write where `/etc` cannot be written. Read last.
pub(super) const STATE_DIRECTORY: &str = "/var/lib/flipside/settings.d";
/// What may be set there.
pub(super) const STATE_KEYS: [&str; 4] =
    ["update.hold", "update.hold_until", "update.hold_reason", "track.image"];

/// What whoever can write to `/run` may not decide: keys, and tables of keys.
pub(super) const NOT_IN_RUN: [&str; 6] =
    ["policy.", "host.", "boot.", "update.allow_downgrade", "track.ca", "track.token_realms"];
/// The levels that decide it.
const WITHOUT_RUN: [&str; 2] = ["etc", "usr/lib"];

impl From<Unusable> for ConfigError {
    fn from(error: Unusable) -> Self {
        match error {
            Unusable::Unreadable { path, source } => Self::Unreadable { path, source },
            Unusable::Untrusted(error) => Self::Untrusted(error),
        }
    }
}

impl Config {
    /// Reads the first of `etc`, `run`, `usr/lib` that has `flipside/flipside.toml`, then the
    /// drop-ins `flipside/flipside.toml.d/*.toml` of all three by file name, then what stands in
    /// `/var/lib/flipside/settings.d`. A host without any has the defaults, and follows nothing.
    ///
    /// # Errors
    /// [`ConfigError`]; a mistake anywhere refuses the whole configuration.
    pub fn load(root: &Root) -> Result<Self, ConfigError> {
        Files::read(root)?.merge(root, UnknownKeys::Refused)?.validate()
    }

    /// The same for what has to go on after a boot of the older of two slots, which share their
    /// settings: a key that does not exist is a warning. Nothing may be installed by such settings.
    ///
    /// # Errors
    /// As [`Config::load`], but for unknown keys.
    pub fn load_shared(root: &Root) -> Result<Self, ConfigError> {
        Files::read(root)?.merge(root, UnknownKeys::PassedOver)?.validate()
    }

    /// Where `key` is set on the host below `root`, in the file that counts; `None` for a default.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn place_of(root: &Root, key: &str) -> Result<Option<Place>, ConfigError> {
        Ok(Files::read(root)?.merge(root, UnknownKeys::Refused)?.place(key))
    }

    /// The files that [`Config::load`] reads, in that order.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`], [`ConfigError::Untrusted`].
    pub fn files(root: &Root) -> Result<Vec<PathBuf>, ConfigError> {
        let mut found = files(root, &LEVELS)?;
        // P8: a state directory that is none loses these, and keeps nothing else from its work.
        let is_other = std::fs::metadata(root.path("var/lib/flipside")).is_ok_and(|m| !m.is_dir());
        if !is_other {
            found.extend(overlay::scan(root, &["var/lib"], "flipside/settings.d", is_drop_in)?);
        }
        Ok(found)
    }

    /// The configuration that one file alone makes.
    ///
    /// # Errors
    /// [`ConfigError`], naming `file`.
    pub fn parse(file: &Path, bytes: &[u8]) -> Result<Self, ConfigError> {
        let mut merged = Merged::default();
        merged.overlay(Fragment::parse(file, bytes, UnknownKeys::Refused)?);
        merged.validate()
    }
}

fn files(root: &Root, levels: &[&str]) -> Result<Vec<PathBuf>, ConfigError> {
    let mut files = Vec::new();
    files.extend(overlay::first(root, levels, FILE)?);
    files.extend(overlay::scan(root, levels, DROP_INS, is_drop_in)?);
    Ok(files)
}

fn is_drop_in(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    // `x.TOML` is meant to be read, too.
    name.to_ascii_lowercase().ends_with(b".toml") && !name.starts_with(b".")
}

/// The files of a host, each read once.
struct Files {
    /// Those that count, the last one most.
    all: Vec<PathBuf>,
    /// Those that decide what files in `/run` may not.
    without_run: Vec<PathBuf>,
    /// What stands in both, in this order.
    contents: Vec<(PathBuf, Vec<u8>)>,
}

impl Files {
    fn read(root: &Root) -> Result<Self, ConfigError> {
        let (all, without_run) = (Config::files(root)?, files(root, &WITHOUT_RUN)?);
        let hidden = without_run.iter().filter(|file| !all.contains(file));
        let read = |file: &PathBuf| Ok((file.clone(), read_trusted(root, file)?));
        let contents: Result<_, ConfigError> = all.iter().chain(hidden).map(read).collect();
        Ok(Self { contents: contents?, all, without_run })
    }

    fn merge(&self, root: &Root, unknown: UnknownKeys) -> Result<Merged<'_>, ConfigError> {
        let (run, state) = (root.path("/run"), root.path(STATE_DIRECTORY));
        let mut merged = Merged::default();
        let mut kept_from_run = BTreeMap::new();
        for (file, bytes) in &self.contents {
            let fragment = Fragment::parse(file, bytes, unknown)?;
            let (in_run, in_state) = (file.starts_with(&run), file.starts_with(&state));
            let fragment = match in_state && unknown == UnknownKeys::PassedOver {
                true => fragment.without_foreign(),
                false => fragment,
            };
            for setting in &fragment.0 {
                let (key, place) = (setting.key(), setting.place.clone());
                let what = if in_run && is_kept_from_run(&key) {
                    format!("{key} is not set by files in /run: set it in /etc")
                } else if in_state && !STATE_KEYS.contains(&key.as_str()) {
                    format!(
                        "only update.hold, with its time and reason, and track.image are set in {STATE_DIRECTORY}, not {key}: set it in /etc"
                    )
                } else {
                    continue;
                };
                return Err(ConfigError::Invalid { place, what });
            }
            let (kept, others) = fragment.split(is_kept_from_run);
            kept_from_run.insert(file, kept);
            if self.all.contains(file) {
                merged.overlay(others);
            }
        }
        // A file in /run that hides another one may not take back what that one says, either.
        for file in &self.without_run {
            merged.overlay(kept_from_run.remove(file).unwrap_or_default());
        }
        Ok(merged)
    }
}

impl Fragment<'_> {
    /// A file in [`STATE_DIRECTORY`] without what only a later flipside takes there.
    fn without_foreign(self) -> Self {
        let (own, foreign) = self.split(|key| STATE_KEYS.contains(&key));
        for setting in foreign.0 {
            let (place, key) = (&setting.place, setting.key());
            tracing::warn!(
                "{place}: {key} is passed over, as a key that only a later flipside takes from {STATE_DIRECTORY}"
            );
        }
        own
    }
}

fn is_kept_from_run(key: &str) -> bool {
    NOT_IN_RUN.iter().any(|kept| match kept.ends_with('.') {
        true => key.starts_with(kept),
        false => key == *kept,
    })
}

fn read_trusted(root: &Root, file: &Path) -> Result<Vec<u8>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: file.to_owned(), source };
    trust::check(root, file)?;
    let bytes = read(file).map_err(unreadable)?;
    if bytes.is_empty() && hides_another(root, file)? {
        let what = "it is empty, and hides another file: only a link to /dev/null does that";
        let place = Place { file: file.to_owned(), line: 1 };
        return Err(ConfigError::Invalid { place, what: what.to_owned() });
    }
    Ok(bytes)
}

/// Whether `file` stands in the place of one in a level below. What a power cut left empty does so
/// unnoticed.
fn hides_another(root: &Root, file: &Path) -> Result<bool, ConfigError> {
    let mut levels = LEVELS.iter().skip_while(|level| !file.starts_with(root.path(level)));
    let Some(own) = levels.next() else { return Ok(false) };
    let below: Vec<&str> = levels.copied().collect();
    let name = file.strip_prefix(root.path(own)).unwrap_or(file).to_string_lossy();
    Ok(overlay::first(root, &below, &name)?.is_some())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A FIFO in the place of a file must not make a run wait for a writer.
    let flags = OFlag::O_NONBLOCK.bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    Ok(bytes)
}
