// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel and initrd in a tree: where bootc has them, and where Debian's packages put them.

use flipside_image::Architecture;

use super::super::PublishError;
use super::{Content, Kind, Name, Tree, base_of, shown};

/// A kernel that a boot file can be made of.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// As `uname -r` says it.
    pub version: String,
    /// The EFI program.
    pub image: Content,
    /// Its initrd.
    pub initrd: Content,
}

/// Where flipside's part of an initrd comes from: of dracut, and of initramfs-tools.
const PARTS: [&str; 2] =
    ["usr/lib/dracut/modules.d/90flipside", "usr/share/initramfs-tools/hooks/flipside"];
/// Microcode that a kernel reads before all else, in an initrd of its own.
const MICROCODE: [&str; 3] =
    ["boot/intel-ucode.img", "boot/amd-ucode.img", "usr/lib/firmware/microcode.img"];

fn refuse<T>(what: impl Into<String>) -> Result<T, PublishError> {
    Err(PublishError::Tree(what.into()))
}

/// The kernel of `tree`: the only one, or the one with the version `wanted`.
///
/// # Errors
/// [`PublishError::Tree`]: there is none, or there are several; it has no initrd, or one without
/// flipside's part.
pub fn find_kernel(tree: &Tree, wanted: Option<&str>) -> Result<Kernel, PublishError> {
    let mut found = kernels(tree);
    let versions = found.iter().map(|(version, _)| version.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(wanted) = wanted {
        found.retain(|(version, _)| version == wanted);
        if found.is_empty() {
            return refuse(match versions.as_str() {
                "" => format!("it has no kernel {wanted}, nor any other"),
                versions => format!("it has no kernel {wanted}, but {versions}"),
            });
        }
    }
    let (version, image) = match found.as_slice() {
        [] => {
            return refuse(
                "it has no kernel, neither /usr/lib/modules/VERSION/vmlinuz nor /boot/vmlinuz-VERSION; \
                 install one in the Containerfile, such as linux-image-amd64",
            );
        }
        [only] => only.clone(),
        _ => return refuse(format!("it has several kernels, {versions}; name one with --kernel")),
    };
    let initrd = [
        format!("usr/lib/modules/{version}/initramfs.img"),
        format!("usr/lib/modules/{version}/initrd"),
        format!("boot/initrd.img-{version}"),
        format!("boot/initramfs-{version}.img"),
    ];
    let Some(initrd) = initrd.iter().find_map(|name| file(tree, name)) else {
        return refuse(format!(
            "kernel {version} has no initrd, neither /usr/lib/modules/{version}/initramfs.img nor \
             /boot/initrd.img-{version}; install initramfs-tools or dracut in the Containerfile"
        ));
    };
    if !PARTS.iter().any(|name| tree.find(name).is_some()) {
        return refuse(
            "its initrd has no part of flipside; install flipside-initramfs-tools or \
             flipside-dracut in the Containerfile, and make the initrd after that",
        );
    }
    Ok(Kernel { version, image, initrd })
}

/// Every kernel, by its version.
fn kernels(tree: &Tree) -> Vec<(String, Content)> {
    let mut found: Vec<(String, Content)> = Vec::new();
    let modules = tree.resolve(b"usr/lib/modules").unwrap_or_default();
    let in_modules = tree.children(&modules).into_iter().filter_map(|directory: Name| {
        let version = shown(base_of(&directory));
        file(tree, &format!("usr/lib/modules/{version}/vmlinuz")).map(|image| (version, image))
    });
    if !modules.is_empty() {
        found.extend(in_modules);
    }
    for name in tree.children(b"boot") {
        let name = shown(base_of(&name));
        let Some(version) = name.strip_prefix("vmlinuz-") else { continue };
        if let (false, Some(image)) =
            (found.iter().any(|(known, _)| known == version), file(tree, &format!("boot/{name}")))
        {
            found.push((version.to_owned(), image));
        }
    }
    found
}

/// Microcode, where the tree has it as a file of its own.
pub fn microcode(tree: &Tree) -> Vec<Content> {
    MICROCODE.iter().filter_map(|name| file(tree, name)).collect()
}

/// systemd's stub for `architecture`.
///
/// # Errors
/// [`PublishError::Tree`] where the tree has none.
pub fn find_stub(tree: &Tree, architecture: Architecture) -> Result<Content, PublishError> {
    let short = match architecture {
        Architecture::X86_64 => "x64",
        Architecture::Aarch64 => "aa64",
    };
    let name = format!("usr/lib/systemd/boot/efi/linux{short}.efi.stub");
    match file(tree, &name) {
        Some(stub) => Ok(stub),
        None => refuse(format!(
            "it has no /{name}; install systemd-boot-efi (Debian) or systemd-boot-unsigned (Fedora) \
             in the Containerfile, or name a stub with --stub"
        )),
    }
}

/// The content of a regular file.
pub(super) fn file(tree: &Tree, name: &str) -> Option<Content> {
    match &tree.find(name)?.kind {
        Kind::File(content) => Some(content.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Inode;
    use super::*;

    fn tree(names: &[&str]) -> Tree {
        let mut tree = Tree::default();
        for name in names {
            tree.put(name.as_bytes(), Inode::text(*name)).unwrap();
        }
        tree
    }

    fn bytes(content: &Content) -> String {
        String::from_utf8(super::super::unpack::small(content, 1000).unwrap()).unwrap()
    }

    #[test]
    fn kernels_are_found_where_bootc_and_debian_have_them() {
        let bootc = ["usr/lib/modules/6.1/vmlinuz", "usr/lib/modules/6.1/initramfs.img", PARTS[0]];
        let debian = ["boot/vmlinuz-6.1", "boot/initrd.img-6.1", "usr/lib/modules/6.1/x", PARTS[1]];
        for names in [bootc.to_vec(), debian.to_vec()] {
            let kernel = find_kernel(&tree(&names), None).unwrap();
            assert_eq!(kernel.version, "6.1");
            assert_eq!(
                (bytes(&kernel.image), bytes(&kernel.initrd)),
                (names[0].into(), names[1].into())
            );
        }
        let both = tree(&[&bootc[..], &debian].concat());
        assert_eq!(bytes(&find_kernel(&both, None).unwrap().image), bootc[0]);
    }

    #[test]
    fn what_is_missing_or_too_many_is_refused_with_what_to_do() {
        let two = ["boot/vmlinuz-6.1", "boot/vmlinuz-6.2", "boot/initrd.img-6.2", PARTS[1]];
        for (names, wanted, part) in [
            (&["etc/passwd"][..], None, "Containerfile"),
            (&two, None, "6.1, 6.2; name one with --kernel"),
            (&two, Some("6.3"), "6.1, 6.2"),
            (&two, Some("6.1"), "no initrd"),
            (&["etc/passwd"], Some("6.1"), "nor any other"),
            (&["boot/vmlinuz-6.1", "boot/initrd.img-6.1"], None, "flipside-initramfs-tools"),
        ] {
            let error = find_kernel(&tree(names), wanted).unwrap_err().to_string();
            assert!(error.contains(part), "{names:?}: {error}");
        }
        assert_eq!(find_kernel(&tree(&two), Some("6.2")).unwrap().version, "6.2");
        let error = find_stub(&tree(&two), Architecture::Aarch64).unwrap_err().to_string();
        assert!(error.contains("linuxaa64.efi.stub") && error.contains("--stub"), "{error}");
    }
}
