// SPDX-License-Identifier: MIT OR Apache-2.0

//! What only a container or its build has, and no host is to get.

use super::super::PublishError;
use super::{Content, Inode, Kind, Name, Tree, shown};

/// What goes with all that is below it.
const REMOVED: [&str; 5] =
    [".dockerenv", "run/.containerenv", "var/cache", "var/lib/apt/lists", "etc/hostname"];
/// Directories that stay, empty.
const EMPTIED: [&str; 6] = ["boot", "dev", "proc", "run", "sys", "tmp"];
/// What a machine writes itself at its first boot (machine-id(5)).
const MACHINE_ID: (&str, &str) = ("etc/machine-id", "uninitialized\n");

/// Takes out what no host is to get, but for what `keep` names. Says of each what was taken out, and
/// why.
///
/// # Errors
/// [`PublishError::Tree`] for something to be kept that is not there.
pub fn tidy(tree: &mut Tree, keep: &[String]) -> Result<Vec<String>, PublishError> {
    let keep: Vec<Name> = keep.iter().map(|name| name.trim_matches('/').into()).collect();
    if let Some(missing) = keep.iter().find(|name| tree.get(name).is_none()) {
        return Err(PublishError::Tree(format!("there is no /{} to keep", shown(missing))));
    }
    let is_kept = |name: &[u8]| {
        let below = |other: &[u8], name: &[u8]| {
            other == name || other.strip_prefix(name).is_some_and(|rest| rest.starts_with(b"/"))
        };
        keep.iter().any(|kept| below(name, kept) || below(kept, name))
    };
    let mut told = Vec::new();
    let mut remove = |tree: &mut Tree, name: &[u8], what: &str| {
        let all: Vec<Name> = tree.below(name).into_iter().filter(|name| !is_kept(name)).collect();
        for name in all.iter().rev() {
            tree.remove(name);
        }
        let itself = !what.is_empty() && !is_kept(name) && tree.get(name).is_some();
        if itself {
            tree.remove(name);
        }
        if itself || !all.is_empty() {
            told.push(format!("/{}{}", shown(name), if itself { "" } else { "/*" }));
        }
    };
    for name in REMOVED {
        remove(tree, name.as_bytes(), "itself");
    }
    for name in EMPTIED {
        remove(tree, name.as_bytes(), "");
    }
    // A link leads to what systemd-resolved or another service keeps.
    if tree.get(b"etc/resolv.conf").is_some_and(|inode| !matches!(inode.kind, Kind::Link(_))) {
        remove(tree, b"etc/resolv.conf", "itself");
    }
    let (name, text) = MACHINE_ID;
    let is_set = tree.get(name.as_bytes()).is_some_and(|inode| match &inode.kind {
        Kind::File(content) => {
            super::unpack::small(content, 64).is_none_or(|id| id != text.as_bytes())
        }
        _ => true,
    });
    if !is_kept(name.as_bytes()) && tree.get(b"etc").is_some_and(Inode::is_directory) {
        let inode = Inode::new(Kind::File(Content::Bytes(text.into())), 0o444);
        tree.put(name.as_bytes(), inode).map_err(|error| PublishError::Tree(error.to_string()))?;
        if is_set {
            told.push(format!("/{name}, which each machine writes itself"));
        }
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(names: &[&str]) -> Tree {
        let mut tree = Tree::default();
        for name in names {
            tree.put(name.as_bytes(), Inode::text("x")).unwrap();
        }
        tree
    }

    #[test]
    fn what_only_a_container_has_goes() {
        let names = [
            ".dockerenv",
            "run/lock/a",
            "tmp/x",
            "var/cache/apt/y",
            "var/lib/apt/lists/z",
            "boot/vmlinuz",
            "etc/resolv.conf",
            "etc/hostname",
            "etc/machine-id",
            "etc/passwd",
            "dev/null",
            "var/lib/a",
        ];
        let mut tree = tree(&names);
        let told = tidy(&mut tree, &["/var/cache/apt".to_owned()]).unwrap();
        let left: Vec<String> = tree.below(b"").iter().map(|name| shown(name)).collect();
        assert_eq!(
            left,
            [
                "boot",
                "dev",
                "etc",
                "etc/machine-id",
                "etc/passwd",
                "run",
                "tmp",
                "var",
                "var/cache",
                "var/cache/apt",
                "var/cache/apt/y",
                "var/lib",
                "var/lib/a",
                "var/lib/apt",
            ]
        );
        for part in ["/boot/*", "/.dockerenv", "/etc/resolv.conf", "/etc/machine-id, which"] {
            assert!(told.iter().any(|line| line.starts_with(part)), "{part}: {told:?}");
        }
        assert_eq!(tidy(&mut tree, &[]).unwrap(), ["/var/cache"]);
        assert_eq!(tidy(&mut tree, &[]).unwrap(), [""; 0]);
        assert!(tidy(&mut tree, &["/no".to_owned()]).is_err());
    }

    #[test]
    fn a_link_to_a_resolvers_file_stays() {
        let mut tree = tree(&["etc/passwd"]);
        let link = Inode::new(Kind::Link(b"../run/systemd/resolve/stub-resolv.conf".into()), 0o777);
        tree.put(b"etc/resolv.conf", link).unwrap();
        tidy(&mut tree, &[]).unwrap();
        assert!(tree.get(b"etc/resolv.conf").is_some());
    }
}
