// SPDX-License-Identifier: MIT OR Apache-2.0

//! What an image has below /var. That is the machine's own: the image gives it at the first boot, and
//! systemd-tmpfiles puts it there (tmpfiles.d(5)).

use super::super::PublishError;
use super::{Inode, Kind, Name, Tree, join, shown};

/// The lines for systemd-tmpfiles, read before those of packages.
const LINES: &str = "usr/lib/tmpfiles.d/00-flipside-var.conf";
/// Where it finds the files (tmpfiles.d(5), `C`).
const FACTORY: &str = "usr/share/factory";
/// What says which packages are installed, and belongs to the image: with a copy on the machine, it
/// would stay as it was in the first version. To the right is where rpm-ostree and others have it.
const DATABASES: [(&str, &str); 2] =
    [("var/lib/dpkg", "usr/lib/sysimage/dpkg"), ("var/lib/rpm", "usr/lib/sysimage/rpm")];

/// Takes everything below /var out, so that a machine has it at its first boot. Says what was moved.
///
/// # Errors
/// [`PublishError::Tree`] for names that systemd-tmpfiles cannot be told.
pub fn move_state(tree: &mut Tree) -> Result<Vec<String>, PublishError> {
    let failed = |error: super::NameError| PublishError::Tree(error.to_string());
    let mut told = Vec::new();
    for (from, to) in DATABASES {
        if tree.get(from.as_bytes()).is_some_and(Inode::is_directory) {
            move_all(tree, from.as_bytes(), to.as_bytes()).map_err(failed)?;
            let target = format!("{}{to}", "../".repeat(from.matches('/').count()));
            let link = Inode::new(Kind::Link(target.into_bytes()), 0o777);
            tree.put(from.as_bytes(), link).map_err(failed)?;
            told.push(format!("/{from} to /{to}"));
        }
    }
    let names = tree.below(b"var");
    let mut lines = String::new();
    let mut has_files = false;
    for name in &names {
        let Some(inode) = tree.get(name).cloned() else { continue };
        let (path, Inode { mode, uid, gid, .. }) = (quoted(name)?, &inode);
        let line = match &inode.kind {
            Kind::Directory => format!("d {path} {mode:04o} {uid} {gid} -\n"),
            Kind::Fifo => format!("p {path} {mode:04o} {uid} {gid} -\n"),
            Kind::Link(target) => format!("L {path} - - - - {}\n", escaped(target)?),
            Kind::File(_) => {
                has_files = true;
                tree.put(&join(FACTORY.as_bytes(), name), inode.clone()).map_err(failed)?;
                format!("C {path} {mode:04o} {uid} {gid} -\n")
            }
        };
        lines.push_str(&line);
    }
    for name in names.iter().rev() {
        tree.remove(name);
    }
    if !lines.is_empty() {
        tree.put(LINES.as_bytes(), Inode::text(lines)).map_err(failed)?;
        told.push(format!("what is below /var to /{LINES}"));
    }
    if has_files {
        told.push(format!("the files below /var to /{FACTORY}/var"));
    }
    Ok(told)
}

/// Moves a directory and all that is in it.
fn move_all(tree: &mut Tree, from: &[u8], to: &[u8]) -> Result<(), super::NameError> {
    let mut names = vec![from.to_vec()];
    names.extend(tree.below(from));
    for name in &names {
        let Some(inode) = tree.get(name).cloned() else { continue };
        let rest = name.strip_prefix(from).unwrap_or_default();
        tree.put(&[to, rest].concat(), inode)?;
    }
    tree.remove(from);
    Ok(())
}

/// An absolute path, as a line of tmpfiles.d takes it.
fn quoted(name: &Name) -> Result<String, PublishError> {
    Ok(format!("\"/{}\"", escaped(name)?))
}

/// Without what systemd-tmpfiles would read as something else.
fn escaped(name: &[u8]) -> Result<String, PublishError> {
    let text = std::str::from_utf8(name).ok().filter(|text| !text.chars().any(char::is_control));
    let text = text.ok_or_else(|| {
        PublishError::Tree(format!("systemd-tmpfiles cannot be told the name {:?}", shown(name)))
    })?;
    Ok(text.replace('%', "%%").replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn var_becomes_lines_for_tmpfiles() {
        let mut tree = Tree::default();
        let owned = |inode: Inode, uid| Inode { uid, gid: 5, ..inode };
        tree.put(b"var/lib/a b%", owned(Inode::directory(0o750), 7)).unwrap();
        tree.put(b"var/lib/a b%/f\"", owned(Inode::text("x"), 8)).unwrap();
        tree.put(b"var/run", Inode::new(Kind::Link(b"/run".into()), 0o777)).unwrap();
        tree.put(b"var/lib/dpkg/status", Inode::text("Package: a")).unwrap();
        let told = move_state(&mut tree).unwrap();
        let left: Vec<String> = tree.below(b"").iter().map(|name| shown(name)).collect();
        let lines = match &tree.find(LINES).unwrap().kind {
            Kind::File(super::super::Content::Bytes(bytes)) => String::from_utf8_lossy(bytes),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            lines,
            "d \"/var/lib\" 0755 0 0 -\nd \"/var/lib/a b%%\" 0750 7 5 -\n\
             C \"/var/lib/a b%%/f\\\"\" 0644 8 5 -\n\
             L \"/var/lib/dpkg\" - - - - ../../usr/lib/sysimage/dpkg\nL \"/var/run\" - - - - /run\n"
        );
        assert!(left.contains(&"usr/share/factory/var/lib/a b%/f\"".to_owned()), "{left:?}");
        assert!(left.contains(&"usr/lib/sysimage/dpkg/status".to_owned()), "{left:?}");
        assert!(!left.iter().any(|name| name.starts_with("var/")), "{left:?}");
        assert_eq!(told.len(), 3, "{told:?}");
    }

    #[test]
    fn a_name_that_no_line_can_have_is_refused() {
        for name in [&b"var/a\nb"[..], b"var/\xff"] {
            let mut tree = Tree::default();
            tree.put(name, Inode::text("x")).unwrap();
            assert!(move_state(&mut tree).is_err());
        }
    }
}
