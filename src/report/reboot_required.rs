// SPDX-License-Identifier: MIT OR Apache-2.0

//! `/run/reboot-required` and `/run/reboot-required.pkgs`: how Debian and Ubuntu tell tools that a
//! reboot is due, and which packages want it, one a line.

use std::io;
use std::path::Path;

use flipside_core::host::Root;

const MARK: &str = "/run/reboot-required";
const PACKAGES: &str = "/run/reboot-required.pkgs";
const SENTENCE: &str = "*** System restart required ***\n";
const OWN: &str = "flipside";

/// Says there whether a reboot is required. Others write to these files as well: what they said
/// stays. A place that takes nothing is no reason to stop.
pub fn tell(root: &Root, is_required: bool) {
    if let Err(error) = write(root, is_required) {
        tracing::debug!("cannot write {MARK}: {error}");
    }
}

fn write(root: &Root, is_required: bool) -> io::Result<()> {
    let (mark, packages) = (root.path(MARK), root.path(PACKAGES));
    let before = read(&packages)?;
    let is_listed = before.lines().any(|line| line == OWN);
    let others = || before.lines().filter(|line| *line != OWN);
    match (is_required, is_listed) {
        (true, true) if mark.exists() => Ok(()),
        (true, _) => {
            let lines: String = others().chain([OWN]).map(|line| format!("{line}\n")).collect();
            std::fs::write(&packages, lines)?;
            if mark.exists() { Ok(()) } else { std::fs::write(&mark, SENTENCE) }
        }
        (false, false) => Ok(()),
        (false, true) if others().next().is_some() => {
            let lines: String = others().map(|line| format!("{line}\n")).collect();
            std::fs::write(&packages, lines)
        }
        // The mark first: a list without it says nothing.
        (false, true) => {
            match std::fs::remove_file(&mark) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            std::fs::remove_file(&packages)
        }
    }
}

fn read(path: &Path) -> io::Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        text => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_said_stays() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        // Without /run: told, and no more.
        tell(&root, true);
        std::fs::create_dir(directory.path().join("run")).unwrap();
        let seen = || {
            let read = |path: &str| std::fs::read_to_string(root.path(path)).ok();
            (read(MARK), read(PACKAGES))
        };
        let both = |packages: &str| (Some(SENTENCE.to_owned()), Some(packages.to_owned()));
        tell(&root, false);
        assert_eq!(seen(), (None, None));
        for _ in 0..2 {
            tell(&root, true);
            assert_eq!(seen(), both("flipside\n"));
        }
        std::fs::write(root.path(PACKAGES), "flipside\nlinux-base\n").unwrap();
        tell(&root, false);
        assert_eq!(seen(), both("linux-base\n"));
        tell(&root, false);
        assert_eq!(seen(), both("linux-base\n"));
        std::fs::write(root.path(MARK), "theirs").unwrap();
        tell(&root, true);
        assert_eq!(seen(), (Some("theirs".into()), Some("linux-base\nflipside\n".into())));
        std::fs::write(root.path(PACKAGES), "flipside\n").unwrap();
        tell(&root, false);
        assert_eq!(seen(), (None, None));
    }
}
