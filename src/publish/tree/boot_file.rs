// SPDX-License-Identifier: MIT OR Apache-2.0

//! The boot file of a tree: its kernel and initrd behind systemd's stub.

use std::path::{Path, PathBuf};

use flipside_image::Architecture;

use super::super::PublishError;
use super::super::uki::Uki;
use super::kernel::{Kernel, file, find_stub, microcode};
use super::unpack::{extract, small};
use super::{Content, Tree};

/// The command line where neither the caller nor the tree has one. A kernel that panics reboots, and
/// so the other slot boots.
const COMMAND_LINE: &str = "root=/dev/flipside/system ro quiet panic=5";
/// Where a tree may have one (kernel-install(8)).
const COMMAND_LINE_FILES: [&str; 2] = ["etc/kernel/cmdline", "usr/lib/kernel/cmdline"];
/// The most bytes of a command line: what x86 kernels take.
const COMMAND_LINE_LIMIT: u64 = 2047;

/// Writes the boot file to `output`; `scratch` holds its parts meanwhile. The stub and the command
/// line are the tree's where there are none of the caller's.
///
/// # Errors
/// [`PublishError::Tree`], [`PublishError::Uki`] and [`PublishError::File`].
pub fn make_boot_file(
    tree: &Tree,
    kernel: &Kernel,
    (architecture, os_release): (Architecture, Vec<u8>),
    (stub, command_line): (Option<&Path>, Option<&str>),
    (output, scratch): (&Path, &Path),
) -> Result<(), PublishError> {
    let put = |content: &Content, name: &str| -> Result<PathBuf, PublishError> {
        let path = scratch.join(name);
        extract(content, &path)?;
        Ok(path)
    };
    let mut initrds = Vec::new();
    for (number, content) in microcode(tree).iter().enumerate() {
        initrds.push(put(content, &format!("microcode-{number}"))?);
    }
    initrds.push(put(&kernel.initrd, "initrd")?);
    let stub = match stub {
        Some(stub) => stub.to_owned(),
        None => put(&find_stub(tree, architecture)?, "stub")?,
    };
    let uki = Uki {
        stub,
        kernel: put(&kernel.image, "linux")?,
        kernel_version: kernel.version.clone(),
        initrds,
        command_line: full_command_line(tree, command_line)?,
        os_release,
    };
    uki.write(output)
}

fn full_command_line(tree: &Tree, given: Option<&str>) -> Result<String, PublishError> {
    let of_tree = || {
        let content = COMMAND_LINE_FILES.iter().find_map(|name| file(tree, name))?;
        String::from_utf8(small(&content, COMMAND_LINE_LIMIT)?).ok()
    };
    let line = given.map(str::to_owned).or_else(of_tree);
    let mut line = line.as_deref().unwrap_or(COMMAND_LINE).split_whitespace().collect::<Vec<_>>();
    if !line.iter().any(|word| word.starts_with("root=")) {
        line.insert(0, "root=/dev/flipside/system");
    }
    let line = line.join(" ");
    if line.len() as u64 > COMMAND_LINE_LIMIT || line.chars().any(char::is_control) {
        let what = "the command line is longer than kernels read, or has control characters";
        return Err(PublishError::Tree(what.to_owned()));
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::super::Inode;
    use super::*;

    #[test]
    fn the_command_line_is_the_callers_the_trees_or_ours() {
        let mut tree = Tree::default();
        let line = |tree: &Tree, given| full_command_line(tree, given).unwrap();
        assert_eq!(line(&tree, None), COMMAND_LINE);
        tree.put(b"usr/lib/kernel/cmdline", Inode::text("quiet\n console=ttyS0\n")).unwrap();
        assert_eq!(line(&tree, None), "root=/dev/flipside/system quiet console=ttyS0");
        assert_eq!(line(&tree, Some("root=flipside:system ro")), "root=flipside:system ro");
        assert!(full_command_line(&tree, Some(&"x".repeat(2048))).is_err());
    }
}
