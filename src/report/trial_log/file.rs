// SPDX-License-Identifier: MIT OR Apache-2.0

//! The files: text with a few lines of `# key: value` before it.

use std::fs::Permissions;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use super::{COUNT, LIMIT, Trial};
use crate::report::ReportError;
use crate::report::named::{is_named, one};
use flipside_core::host::open::open_to_read;
use flipside_core::host::{Files, Root, Slot};
use flipside_image::Digest;
use flipside_image::printable;

/// Where the logs are. Journals are not for everybody to read: mode 0700.
const DIRECTORY: &str = "/var/lib/flipside/trials";

/// What one trial left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// The version that was tried.
    pub version: String,
    /// The image.
    pub digest: Digest,
    /// The slot that it was tried in.
    pub slot: Option<Slot>,
    /// Why it was not promoted.
    pub reason: String,
    /// Its boot, where that is known.
    pub boot_id: Option<String>,
    /// When this was kept.
    pub kept: Timestamp,
    /// What it said, the end of it.
    pub text: String,
}

/// The logs of a host.
#[derive(Debug, Clone)]
pub struct KeptLogs {
    directory: PathBuf,
}

impl KeptLogs {
    /// Those of the host in `root`.
    pub fn of(root: &Root) -> Self {
        Self { directory: root.path(DIRECTORY) }
    }

    /// Those that can be read, the newest last. A host without any has none.
    ///
    /// # Errors
    /// [`ReportError::Read`] where the directory is there and cannot be read.
    pub fn all(&self) -> Result<Vec<Kept>, ReportError> {
        let path = || self.directory.clone();
        let files = match self.files() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(ReportError::Read { path: path(), source }),
            Ok(files) => files,
        };
        let mut logs: Vec<Kept> = files.iter().filter_map(|file| read(file)).collect();
        logs.sort_by_key(|log| log.kept);
        Ok(logs)
    }

    /// The newest log of the version `which`, or the log of the image that has this digest.
    ///
    /// # Errors
    /// As [`KeptLogs::all`]; [`ReportError::ImageAmbiguous`].
    pub fn find(&self, which: &str) -> Result<Option<Kept>, ReportError> {
        let mut logs = self.all()?;
        logs.retain(|log| is_named(which, Some(&log.version), &log.digest));
        if logs.iter().all(|log| log.version != which) && !logs.is_empty() {
            one(which, logs.iter().map(|log| log.digest).collect())?;
        }
        Ok(logs.pop())
    }

    fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            files.push(entry?.path());
        }
        files.sort();
        Ok(files)
    }

    /// Writes a log in place of an older one of the same image. Returns whether it could; where
    /// not, that is told.
    pub(super) fn keep(
        &self,
        files: &Files,
        trial: &Trial<'_>,
        boot_id: Option<&str>,
        text: &[u8],
    ) -> bool {
        let kept = self.try_keep(files, trial, boot_id, text);
        if let Err(error) = &kept {
            let directory = self.directory.display();
            tracing::warn!("cannot keep the journal of the trial in {directory}: {error}");
        }
        kept.is_ok()
    }

    fn try_keep(
        &self,
        files: &Files,
        trial: &Trial<'_>,
        boot_id: Option<&str>,
        text: &[u8],
    ) -> io::Result<()> {
        let Trial { digest, version, slot, reason } = trial;
        let shown = |text: &str| printable::line(text, 200);
        let mut content = format!(
            "# version: {}\n# digest: {digest}\n# slot: {}\n# reason: {}\n# boot: {}\n# kept: {}\n",
            shown(version),
            slot.letter(),
            shown(reason),
            shown(boot_id.unwrap_or_default()),
            Timestamp::now()
        );
        let text = printable::text(&String::from_utf8_lossy(text));
        content.push('\n');
        content.push_str(end_of(&text, LIMIT.saturating_sub(content.len())));
        files.make_directory(&self.directory)?;
        std::fs::set_permissions(&self.directory, Permissions::from_mode(0o700))?;
        let path = self.directory.join(name(version, digest));
        files.replace(&path, content.as_bytes())?;
        self.make_room(files, &path)
    }

    /// The oldest go, and what a power cut left of one that was being written.
    fn make_room(&self, files: &Files, newest: &Path) -> io::Result<()> {
        let mut logs = Vec::new();
        for file in self.files()?.into_iter().filter(|file| file != newest) {
            match read(&file) {
                Some(log) => logs.push((log.kept, file)),
                None => files.unlink(&file)?,
            }
        }
        logs.sort();
        let surplus = (logs.len() + 1).saturating_sub(COUNT);
        for (_, file) in logs.iter().take(surplus) {
            files.unlink(file)?;
        }
        Ok(())
    }
}

/// `2026.11.2-98cd76ef1234.log`; versions may be anything.
fn name(version: &str, digest: &Digest) -> String {
    let fit = |c: char| c.is_ascii_alphanumeric() || "._+~-".contains(c);
    let version: String = version.chars().map(|c| if fit(c) { c } else { '_' }).take(60).collect();
    let hex = digest.hex();
    format!("{}-{}.log", version.trim_start_matches('.'), hex.get(..12).unwrap_or(&hex))
}

/// The last `limit` bytes of `text`, from the beginning of a line.
fn end_of(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    let bytes = text.as_bytes();
    let from = bytes.len() - limit;
    let line = bytes.iter().skip(from).position(|byte| *byte == b'\n');
    line.and_then(|at| text.get(from + at + 1..)).unwrap_or_default()
}

/// `None` where it is no such file.
fn read(path: &Path) -> Option<Kept> {
    if path.extension() != Some("log".as_ref()) {
        return None;
    }
    let mut bytes = Vec::new();
    let file = open_to_read(path).ok()?;
    file.take(2 * LIMIT as u64).read_to_end(&mut bytes).ok()?;
    let content = String::from_utf8_lossy(&bytes).into_owned();
    let (head, text) = content.split_once("\n\n")?;
    let value = |key: &str| {
        let prefix = format!("# {key}: ");
        head.lines().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned)
    };
    Some(Kept {
        version: value("version")?,
        digest: value("digest")?.parse().ok()?,
        slot: value("slot").and_then(|slot| slot.parse().ok()),
        reason: value("reason").unwrap_or_default(),
        boot_id: value("boot").filter(|id| !id.is_empty()),
        kept: value("kept")?.parse().ok()?,
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flipside_core::host::durable::Durable;

    fn trial(version: &str) -> Trial<'_> {
        let digest = Digest::of(version.as_bytes());
        Trial { digest, version, slot: Slot::B, reason: "it\nhung" }
    }

    fn files(directory: &tempfile::TempDir) -> Files {
        Files::new(&Root::new(directory.path()), &Durable::new())
    }

    fn host() -> (tempfile::TempDir, KeptLogs) {
        let directory = tempfile::tempdir().unwrap();
        let logs = KeptLogs::of(&Root::new(directory.path()));
        (directory, logs)
    }

    #[test]
    fn a_log_is_found_by_version_and_digest_and_is_fit_to_be_shown() {
        let (directory, logs) = host();
        assert_eq!(logs.all().unwrap(), []);
        let odd = "../v 2\u{1b}";
        let text = "  one\x1b[31m\n\n\ttwo\u{202e}\n\u{fffd}";
        assert!(logs.keep(&files(&directory), &trial("1"), None, b"x"));
        assert!(logs.keep(&files(&directory), &trial(odd), Some("b5"), text.as_bytes()));
        let digest = Digest::of(odd.as_bytes());
        for which in ["../v 2", &digest.to_string(), &digest.hex()[..8], &digest.short()] {
            let log = logs.find(which).unwrap().unwrap();
            assert_eq!((log.version.as_str(), log.reason.as_str()), ("../v 2", "it hung"));
            assert_eq!((log.slot, log.boot_id.as_deref()), (Some(Slot::B), Some("b5")));
            assert_eq!(log.text, "  one[31m\n\n two\n\u{fffd}", "{which}");
        }
        assert_eq!(logs.find("3").unwrap(), None);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&logs.directory), 0o700);
        assert_eq!(logs.files().unwrap().len(), 2);
    }

    #[test]
    fn logs_are_bounded_in_size_and_number() {
        let (directory, logs) = host();
        std::fs::create_dir_all(&logs.directory).unwrap();
        std::fs::write(logs.directory.join("7-x.log.new"), "torn").unwrap();
        let line = "a line of a journal, with a word at its end\n";
        let text = line.repeat(2 * LIMIT / line.len()) + "last\n";
        for version in ["1", "2", "3", "4", "5", "6"] {
            assert!(logs.keep(&files(&directory), &trial(version), None, text.as_bytes()));
        }
        let kept = logs.all().unwrap();
        let versions: Vec<&str> = kept.iter().map(|log| log.version.as_str()).collect();
        assert_eq!(versions, ["3", "4", "5", "6"]);
        assert_eq!(logs.files().unwrap().len(), COUNT);
        let text = &kept[0].text;
        assert!(text.starts_with(line) && text.ends_with("\nlast\n"), "{}", &text[..80]);
        let length = std::fs::metadata(&logs.files().unwrap()[0]).unwrap().len();
        assert!(length <= LIMIT as u64 && length > LIMIT as u64 - 200, "{length}");
    }

    #[test]
    fn a_place_that_takes_nothing_is_told_and_stops_nothing() {
        let (directory, logs) = host();
        std::fs::write(directory.path().join("var"), "a file").unwrap();
        assert!(!logs.keep(&files(&directory), &trial("1"), None, b"x"));
    }
}
