// SPDX-License-Identifier: MIT OR Apache-2.0

//! Drop-ins that commands write for people: settings like any others, to be read, changed and
//! removed by hand as well.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::hold::Hold;
use super::{Config, ConfigError, Place};
use flipside_core::host::{Files, Root};

/// Where they stand: the administrator's level.
const DIRECTORY: &str = "/etc/flipside/flipside.toml.d";

/// A drop-in of flipside's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropIn {
    /// `flipside hold`.
    Hold,
    /// `flipside switch`.
    Switch,
}

impl DropIn {
    fn name(self) -> &'static str {
        match self {
            Self::Hold => "90-hold.toml",
            Self::Switch => "90-switch.toml",
        }
    }

    /// The key that it is about.
    pub fn key(self) -> &'static str {
        match self {
            Self::Hold => "update.hold",
            Self::Switch => "track.image",
        }
    }

    /// Where it stands on the host below `root`.
    pub fn path(self, root: &Root) -> PathBuf {
        root.path(DIRECTORY).join(self.name())
    }

    fn write(self, root: &Root, files: &Files, text: &str) -> Result<(), ConfigError> {
        let path = self.path(root);
        let failed = |source| ConfigError::Unwritable { path: path.clone(), source };
        files.make_directory(&root.path(DIRECTORY)).map_err(failed)?;
        files.replace(&path, text.as_bytes()).map_err(failed)
    }

    /// Removes it. Returns whether there was one.
    ///
    /// # Errors
    /// [`ConfigError::Unwritable`].
    pub fn remove(self, root: &Root, files: &Files) -> Result<bool, ConfigError> {
        let path = self.path(root);
        let failed = |source| ConfigError::Unwritable { path: path.clone(), source };
        if std::fs::symlink_metadata(&path).is_err() {
            return Ok(false);
        }
        files.unlink(&path).map_err(failed)?;
        files.sync_directory(&root.path(DIRECTORY)).map_err(failed)?;
        Ok(true)
    }

    /// Where the key is set on the host below `root` in a drop-in that is read after this one, so
    /// that this one has no effect.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn overridden(self, root: &Root) -> Result<Option<Place>, ConfigError> {
        let is_later = |place: &Place| {
            let directory = place.file.parent().and_then(Path::file_name);
            directory == Path::new(DIRECTORY).file_name()
                && place.file.file_name() > Some(OsStr::new(self.name()))
        };
        Ok(Config::place_of(root, self.key())?.filter(is_later))
    }
}

/// Lets the host below `root` make no automatic updates.
///
/// # Errors
/// [`ConfigError::Unwritable`].
pub fn hold(root: &Root, files: &Files, hold: &Hold) -> Result<(), ConfigError> {
    let mut text = String::from(
        "# Written by `flipside hold`; `flipside unhold` removes it.\n[update]\nhold = true\n",
    );
    let (until, reason) = (hold.until.as_ref().map(ToString::to_string), hold.reason.as_ref());
    // Empty as well: another file may set them.
    for (key, value) in [
        ("hold_until", until.unwrap_or_default()),
        ("hold_reason", reason.cloned().unwrap_or_default()),
    ] {
        text.push_str(&format!("{key} = {}\n", toml::Value::String(value)));
    }
    DropIn::Hold.write(root, files, &text)
}

/// Lets the host below `root` follow `image`.
///
/// # Errors
/// [`ConfigError::Unwritable`].
pub fn switch(root: &Root, files: &Files, image: &str) -> Result<(), ConfigError> {
    let text = format!(
        "# Written by `flipside switch`; `flipside switch --back` removes it.\n[track]\nimage = {}\n",
        toml::Value::String(image.to_owned())
    );
    DropIn::Switch.write(root, files, &text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flipside_core::host::durable::Durable;
    use proptest::prelude::*;

    fn host() -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        (directory, root)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(reason in "[^\\p{C}]{0,40}", day in 1_i8..28) {
            let (_directory, root) = host();
            let until = format!("2026-12-{day:02}").parse().unwrap();
            let wish = Hold {
                until: Some(until),
                reason: Some(reason).filter(|text| !text.trim().is_empty()),
            };
            hold(&root, &Files::new(&root, &Durable::new()), &wish).unwrap();
            prop_assert_eq!(Config::load(&root).unwrap().update.hold, Some(wish));
        }
    }

    #[test]
    fn a_drop_in_comes_changes_and_goes() {
        let (_directory, root) = host();
        let files = Files::new(&root, &Durable::new());
        assert!(!DropIn::Hold.remove(&root, &files).unwrap());
        let timed = Hold { until: Some("2026-12-01T18:00Z".parse().unwrap()), reason: None };
        for wish in [timed, Hold::default()] {
            hold(&root, &files, &wish).unwrap();
            assert_eq!(Config::load(&root).unwrap().update.hold, Some(wish));
        }
        switch(&root, &files, "r.example/a:b\"c").unwrap();
        let config = Config::load(&root).unwrap();
        assert_eq!(config.track.image.as_deref(), Some("r.example/a:b\"c"));
        let left = std::fs::read_dir(root.path(DIRECTORY)).unwrap();
        assert_eq!(left.count(), 2, "nothing else is left behind");
        assert!(DropIn::Hold.remove(&root, &files).unwrap());
        assert!(DropIn::Switch.remove(&root, &files).unwrap());
        assert_eq!(Config::load(&root).unwrap(), Config::default());
    }

    #[test]
    fn a_setting_that_stands_somewhere_else_is_found_there() {
        let (_directory, root) = host();
        hold(&root, &Files::new(&root, &Durable::new()), &Hold::default()).unwrap();
        assert_eq!(DropIn::Hold.overridden(&root).unwrap(), None);
        let earlier = root.path(DIRECTORY).join("10-site.toml");
        std::fs::write(&earlier, "update.hold = false\n").unwrap();
        assert_eq!(DropIn::Hold.overridden(&root).unwrap(), None);
        let later = root.path(DIRECTORY).join("99-site.toml");
        std::fs::write(&later, "\nupdate.hold = false\n").unwrap();
        let place = DropIn::Hold.overridden(&root).unwrap().unwrap();
        assert_eq!(place, Place { file: later, line: 2 });
    }
}
