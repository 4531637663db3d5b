// SPDX-License-Identifier: MIT OR Apache-2.0

//! Drop-ins that commands write for people: settings like any others, to be read, changed and
//! removed by hand as well.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::hold::Hold;
use super::load::STATE_DIRECTORY;
use super::{Config, ConfigError, Place};
use flipside_core::host::{Files, Root};

/// Where they stand: the administrator's level. Where that cannot be written they stand in
/// [`STATE_DIRECTORY`], which is read last.
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

    /// Writes it, and returns where. One that stands in the other place is removed, so that it
    /// does not come back.
    fn write(self, root: &Root, files: &Files, text: &str) -> Result<PathBuf, ConfigError> {
        let directory = directory(root);
        let path = self.write_in(directory, root, files, text)?;
        if directory == DIRECTORY {
            self.remove_in(STATE_DIRECTORY, root, files)?;
        }
        Ok(path)
    }

    fn write_in(
        self,
        directory: &str,
        root: &Root,
        files: &Files,
        text: &str,
    ) -> Result<PathBuf, ConfigError> {
        let path = root.path(directory).join(self.name());
        let failed = |source| ConfigError::Unwritable { path: path.clone(), source };
        files.make_directory(&root.path(directory)).map_err(failed)?;
        files.replace(&path, text.as_bytes()).map_err(failed)?;
        Ok(path)
    }

    /// Removes it from both places. Returns whether there was one.
    ///
    /// # Errors
    /// [`ConfigError::Unwritable`]; what stands in `/etc` goes first, and where it cannot go, both
    /// stay.
    pub fn remove(self, root: &Root, files: &Files) -> Result<bool, ConfigError> {
        let in_etc = self.remove_in(DIRECTORY, root, files)?;
        Ok(self.remove_in(STATE_DIRECTORY, root, files)? || in_etc)
    }

    fn remove_in(self, directory: &str, root: &Root, files: &Files) -> Result<bool, ConfigError> {
        let path = root.path(directory).join(self.name());
        let failed = |source| ConfigError::Unwritable { path: path.clone(), source };
        if std::fs::symlink_metadata(&path).is_err() {
            return Ok(false);
        }
        files.unlink(&path).map_err(failed)?;
        files.sync_directory(&root.path(directory)).map_err(failed)?;
        Ok(true)
    }

    /// Where the key is set on the host below `root` in a drop-in that is read after this one, so
    /// that this one has no effect.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn overridden(self, root: &Root) -> Result<Option<Place>, ConfigError> {
        let own = Some(OsStr::new(self.name()));
        let is_later = |place: &Place| {
            let stands_in = |directory: &str| place.file.parent() == Some(&root.path(directory));
            let name = place.file.file_name();
            match (directory(root) == DIRECTORY, stands_in(STATE_DIRECTORY)) {
                (true, true) => name != own,
                (false, true) => name > own,
                (true, false) => is_drop_in(&place.file) && name > own,
                (false, false) => false,
            }
        };
        Ok(Config::place_of(root, self.key())?.filter(is_later))
    }
}

/// Whether `file` is a drop-in, of any level.
fn is_drop_in(file: &Path) -> bool {
    file.parent().and_then(Path::file_name) == Path::new(DIRECTORY).file_name()
}

/// Where drop-ins are written on the host below `root`: in `/etc`, where that can be written.
fn directory(root: &Root) -> &'static str {
    let path = root.path(DIRECTORY);
    let existing = path.ancestors().find(|path| path.exists());
    match existing.map(|path| access(path, AccessFlags::W_OK)) {
        Some(Err(_)) => STATE_DIRECTORY,
        _ => DIRECTORY,
    }
}

/// Lets the host below `root` make no automatic updates. Returns the file that says so.
///
/// # Errors
/// [`ConfigError::Unwritable`].
pub fn hold(root: &Root, files: &Files, hold: &Hold) -> Result<PathBuf, ConfigError> {
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

/// Lets the host below `root` follow `image`. Returns the file that says so.
///
/// # Errors
/// [`ConfigError::Unwritable`].
pub fn switch(root: &Root, files: &Files, image: &str) -> Result<PathBuf, ConfigError> {
    let text = format!(
        "# Written by `flipside switch`; `flipside switch --back` removes it.\n[track]\nimage = {}\n",
        toml::Value::String(image.to_owned())
    );
    // What would be refused is not written: the host would follow nothing.
    Config::parse(Path::new("track.image"), text.as_bytes())?;
    DropIn::Switch.write(root, files, &text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flipside_core::host::durable::{Durable, Step, StepObserver};
    use proptest::prelude::*;
    use std::sync::Arc;

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
            prop_assert_eq!(Config::load(&root).unwrap().update.hold(), Some(wish));
        }
    }

    #[test]
    fn a_drop_in_comes_changes_and_goes() {
        let (_directory, root) = host();
        let files = Files::new(&root, &Durable::new());
        assert!(!DropIn::Hold.remove(&root, &files).unwrap());
        assert!(switch(&root, &files, "oci:image:stable").is_err(), "no whole path");
        assert!(!DropIn::Switch.remove(&root, &files).unwrap());
        let timed = Hold { until: Some("2026-12-01T18:00Z".parse().unwrap()), reason: None };
        for wish in [timed, Hold::default()] {
            hold(&root, &files, &wish).unwrap();
            assert_eq!(Config::load(&root).unwrap().update.hold(), Some(wish));
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
    fn what_stands_in_the_state_directory_is_read_last_and_goes_with_the_other() {
        let (_directory, root) = host();
        let files = Files::new(&root, &Durable::new());
        hold(&root, &files, &Hold::default()).unwrap();
        let state = root.path(STATE_DIRECTORY);
        std::fs::create_dir_all(&state).unwrap();
        let later = "update.hold = true\nupdate.hold_reason = \"later\"\n";
        std::fs::write(state.join("90-hold.toml"), later).unwrap();
        std::fs::write(state.join("90-switch.toml"), "track.image = \"r.example/a:b\"\n").unwrap();
        let config = Config::load(&root).unwrap();
        assert_eq!(config.update.hold().unwrap().reason.as_deref(), Some("later"));
        assert_eq!(config.track.image.as_deref(), Some("r.example/a:b"));
        // A new hold in /etc is not overridden by an old one.
        hold(&root, &files, &Hold::default()).unwrap();
        assert_eq!(Config::load(&root).unwrap().update.hold(), Some(Hold::default()));
        std::fs::write(state.join("90-hold.toml"), later).unwrap();
        assert!(DropIn::Hold.remove(&root, &files).unwrap());
        assert!(DropIn::Switch.remove(&root, &files).unwrap());
        assert_eq!(Config::load(&root).unwrap(), Config::default());
        assert_eq!(std::fs::read_dir(state).unwrap().count(), 0);
    }

    /// Fails at one of its steps, as a power cut does.
    struct Cut(std::sync::atomic::AtomicUsize);

    impl StepObserver for Cut {
        fn before(&self, _: &Step<'_>) -> std::io::Result<()> {
            use std::sync::atomic::Ordering::SeqCst;
            let left = self.0.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
            left.map(|_| ()).map_err(|_| std::io::ErrorKind::Interrupted.into())
        }
    }

    #[test]
    fn p9_cut_at_any_step_the_old_settings_count_or_the_new_ones() {
        let image = |name: &str| format!("track.image = \"r.example/a:{name}\"\n");
        let is_followed = |root: &Root| Config::load(root).unwrap().track.image;
        for directory in [DIRECTORY, STATE_DIRECTORY] {
            let mut cuts = 0;
            for steps in 0.. {
                let (_directory, root) = host();
                let whole = Files::new(&root, &Durable::new());
                DropIn::Switch.write_in(directory, &root, &whole, &image("old")).unwrap();
                let cut = Files::new(&root, &Durable::observed(Arc::new(Cut(steps.into()))));
                let written = DropIn::Switch.write_in(directory, &root, &cut, &image("new"));
                let followed = is_followed(&root).unwrap();
                assert!(["r.example/a:old", "r.example/a:new"].contains(&&*followed));
                DropIn::Switch.write_in(directory, &root, &whole, &image("new")).unwrap();
                assert_eq!(is_followed(&root).as_deref(), Some("r.example/a:new"));
                let left = std::fs::read_dir(root.path(directory)).unwrap().count();
                assert_eq!(left, 1, "nothing else is left behind");
                cuts += 1;
                if written.is_ok() {
                    break;
                }
            }
            assert!(cuts > 4, "{cuts}");
        }
    }

    #[test]
    fn the_state_directory_sets_holds_and_the_image_and_nothing_else() {
        let (_directory, root) = host();
        let file = root.path(STATE_DIRECTORY).join("10.toml");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        for (text, is_right) in [
            ("[update]\nhold = true\nhold_until = 2026-12-01\nhold_reason = \"x\"\n", true),
            ("track.image = \"r.example/a:b\"\n", true),
            ("track.mirrors = []\n", false),
            ("update.automatic = \"off\"\n", false),
            ("policy.signature.mode = \"off\"\n", false),
            ("host.payloads.x.a = \"y\"\n", false),
        ] {
            std::fs::write(&file, text).unwrap();
            let loaded = Config::load(&root);
            assert_eq!(loaded.is_ok(), is_right, "{text}");
            if let Err(error) = loaded {
                let said = error.to_string();
                assert!(
                    said.contains("10.toml, line 1") && said.contains("set it in /etc"),
                    "{said}"
                );
            }
        }
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
        let last = root.path(STATE_DIRECTORY).join("10-site.toml");
        std::fs::create_dir_all(last.parent().unwrap()).unwrap();
        std::fs::write(&last, "update.hold = false\n").unwrap();
        let place = DropIn::Hold.overridden(&root).unwrap().unwrap();
        assert_eq!(place, Place { file: last, line: 1 });
    }
}
