// SPDX-License-Identifier: MIT OR Apache-2.0

//! What happened on this host: `history.jsonl`, one line per transition, for people.
//! Losing it loses nothing else (P8).

use std::fmt;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ReportError;
use flipside_core::host::open::open_to_read;
use flipside_core::host::{Files, Root, Slot};
use flipside_image::Digest;

/// Where the history is.
pub const PATH: &str = "var/lib/flipside/history.jsonl";

/// The most bytes that are read, from the end.
const READ_LIMIT: u64 = 4 << 20;

/// The length at which the older half of the file is dropped.
const LENGTH_LIMIT: u64 = 1 << 20;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub time: Timestamp,
    /// In which boot (`/proc/sys/kernel/random/boot_id`): clocks may be wrong, this is not.
    #[serde(default)]
    pub boot_id: Option<String>,
    /// What.
    pub event: Happening,
    /// The slot that it happened to.
    #[serde(default)]
    pub slot: Option<Slot>,
    /// The version in question.
    #[serde(default)]
    pub version: Option<String>,
    /// The digest in question.
    #[serde(default)]
    pub digest: Option<Digest>,
    /// The stable code, where something went wrong.
    #[serde(default)]
    pub code: Option<String>,
    /// One sentence.
    #[serde(default)]
    pub message: String,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Happening {
    /// An update began to be written.
    Writing,
    /// It was written whole.
    Installed,
    /// It boots once at the next boot.
    Armed,
    /// What was installed gave way to another update before it booted.
    Superseded,
    /// It proved itself.
    Promoted,
    /// It did not, and the old system runs again.
    FellBack,
    /// A digest is not tried again by itself.
    Failed,
    /// A person went back to the other slot.
    RolledBack,
    /// A person lets a digest be tried again that failed, or that a rollback left.
    RetryAllowed,
    /// The tag named another manifest of what runs.
    Adopted,
    /// The firmware had undone a promotion, and the boot entries were put right.
    Repaired,
    /// Something that a later flipside knows.
    #[serde(untagged)]
    Other(String),
}

/// As in JSON.
impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Writing => "writing",
            Self::Installed => "installed",
            Self::Armed => "armed",
            Self::Superseded => "superseded",
            Self::Promoted => "promoted",
            Self::FellBack => "fell-back",
            Self::Failed => "failed",
            Self::RolledBack => "rolled-back",
            Self::RetryAllowed => "retry-allowed",
            Self::Adopted => "adopted",
            Self::Repaired => "repaired",
            Self::Other(name) => name,
        })
    }
}

/// Lines of the history, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct History {
    /// The lines.
    pub entries: Vec<Entry>,
    /// How many lines could not be read and were left out.
    pub damaged: usize,
}

/// The history of a host.
#[derive(Debug, Clone)]
pub struct HistoryFile {
    path: PathBuf,
}

impl HistoryFile {
    /// The history of the host in `root`.
    pub fn of(root: &Root) -> Self {
        Self { path: root.path(PATH) }
    }

    /// Appends a line, durably.
    ///
    /// # Errors
    /// [`ReportError::Write`].
    pub fn append(&self, files: &Files, entry: &Entry) -> Result<(), ReportError> {
        self.try_append(files, entry)
            .map_err(|source| ReportError::Write { path: self.path.clone(), source })
    }

    fn try_append(&self, files: &Files, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_string(entry)?;
        if let Some(directory) = self.path.parent() {
            files.make_directory(directory)?;
        }
        let length = match std::fs::metadata(&self.path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        if length > LENGTH_LIMIT {
            let mut kept = read_end(&self.path, LENGTH_LIMIT / 2)?;
            end_line(&mut kept);
            kept.extend_from_slice(line.as_bytes());
            kept.push(b'\n');
            return files.replace(&self.path, &kept);
        }
        // A line that a power cut tore must not take the next one with it.
        if length > 0 && !read_end(&self.path, 1)?.ends_with(b"\n") {
            line.insert(0, '\n');
        }
        files.append_line(&self.path, &line)
    }

    /// The last `count` lines. A host without a history has an empty one.
    ///
    /// # Errors
    /// [`ReportError::Read`].
    pub fn last(&self, count: usize) -> Result<History, ReportError> {
        let bytes = match read_end(&self.path, READ_LIMIT) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(History::default()),
            Err(source) => return Err(ReportError::Read { path: self.path.clone(), source }),
        };
        let mut history = History::default();
        for line in bytes.split(|byte| *byte == b'\n').rev() {
            if history.entries.len() >= count {
                break;
            }
            match serde_json::from_slice(line) {
                _ if line.trim_ascii().is_empty() => {}
                Ok(entry) => history.entries.push(entry),
                Err(_) => history.damaged = history.damaged.saturating_add(1),
            }
        }
        history.entries.reverse();
        Ok(history)
    }
}

/// The last `limit` bytes of a file; where that cuts a longer one, whole lines only.
fn read_end(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut file = open_to_read(path)?;
    let skipped = file.metadata()?.len().saturating_sub(limit);
    file.seek(SeekFrom::Start(skipped))?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    if skipped > 0 && limit > 1 {
        let begin = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
        bytes.drain(..begin);
    }
    Ok(bytes)
}

fn end_line(bytes: &mut Vec<u8>) {
    if !bytes.is_empty() && !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flipside_core::host::durable::Durable;
    use proptest::prelude::*;

    fn entry(version: &str) -> Entry {
        Entry {
            time: Timestamp::from_second(1_800_000_000).unwrap(),
            boot_id: Some("7f1c".into()),
            event: Happening::FellBack,
            slot: Some(Slot::B),
            version: Some(version.into()),
            digest: Some(Digest::of(b"x")),
            code: None,
            message: "the trial was not promoted".into(),
        }
    }

    fn files(directory: &tempfile::TempDir) -> Files {
        Files::new(&Root::new(directory.path()), &Durable::new())
    }

    fn host() -> (tempfile::TempDir, HistoryFile) {
        let directory = tempfile::tempdir().unwrap();
        let file = HistoryFile::of(&Root::new(directory.path()));
        (directory, file)
    }

    fn versions(history: &History) -> Vec<&str> {
        history.entries.iter().map(|entry| entry.version.as_deref().unwrap()).collect()
    }

    #[test]
    fn the_last_lines_come_back_in_order() {
        let (directory, file) = host();
        assert_eq!(file.last(5).unwrap(), History::default());
        for version in ["1", "2", "3"] {
            file.append(&files(&directory), &entry(version)).unwrap();
        }
        assert_eq!(versions(&file.last(2).unwrap()), ["2", "3"]);
        assert_eq!(file.last(9).unwrap().entries[0], entry("1"));
        assert_eq!(file.last(0).unwrap().entries, []);
    }

    #[test]
    fn damaged_lines_are_counted_and_take_no_other_with_them() {
        let (directory, file) = host();
        file.append(&files(&directory), &entry("1")).unwrap();
        let mut torn = std::fs::read(&file.path).unwrap();
        torn.extend_from_slice(b"{}\n\n\xff\n{\"time\":\"20");
        std::fs::write(&file.path, torn).unwrap();
        file.append(&files(&directory), &entry("2")).unwrap();
        let history = file.last(9).unwrap();
        assert_eq!((versions(&history), history.damaged), (vec!["1", "2"], 3));
    }

    #[test]
    fn lines_of_a_later_version_are_read_as_far_as_they_are_known() {
        let line = r#"{"time":"2027-01-15T08:00:00Z","event":"beamed-up","new":1}"#;
        let entry: Entry = serde_json::from_str(line).unwrap();
        assert_eq!(entry.event, Happening::Other("beamed-up".into()));
        for event in [Happening::Writing, Happening::FellBack, Happening::RolledBack, entry.event] {
            assert_eq!(serde_json::to_value(&event).unwrap(), event.to_string());
        }
        assert_eq!(serde_json::from_str::<Happening>("\"armed\"").unwrap(), Happening::Armed);
    }

    #[test]
    fn a_long_history_loses_its_older_half() {
        let (directory, file) = host();
        let line = format!("{}\n", serde_json::to_string(&entry("old")).unwrap());
        std::fs::create_dir_all(file.path.parent().unwrap()).unwrap();
        let lines = usize::try_from(LENGTH_LIMIT).unwrap() / line.len() + 1;
        std::fs::write(&file.path, line.repeat(lines)).unwrap();
        file.append(&files(&directory), &entry("new")).unwrap();
        let length = std::fs::metadata(&file.path).unwrap().len();
        assert!(length > LENGTH_LIMIT / 3 && length < LENGTH_LIMIT * 2 / 3, "{length}");
        let history = file.last(usize::MAX).unwrap();
        assert_eq!(history.damaged, 0);
        assert_eq!(versions(&history).last(), Some(&"new"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let (_directory, file) = host();
            std::fs::create_dir_all(file.path.parent().unwrap()).unwrap();
            std::fs::write(&file.path, &bytes).unwrap();
            let history = file.last(10).unwrap();
            prop_assert!(history.entries.len() + history.damaged <= bytes.len() + 1);
        }
    }
}
