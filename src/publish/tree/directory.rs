// SPDX-License-Identifier: MIT OR Apache-2.0

//! A tree from a directory: what mmdebstrap, mkosi and `dnf --installroot` make.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, Metadata};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::super::PublishError;
use super::{Content, Inode, Kind, Name, NameError, Tree, join};

/// Names of extended attributes, and the value of one, have at most so many bytes (xattr(7)).
const XATTR_LIMIT: usize = 64 << 10;

/// Reads the directory `root`. What is mounted in it is left out, and so are sockets, and devices in
/// /dev.
///
/// # Errors
/// [`PublishError::File`], and [`PublishError::Tree`] for a device elsewhere.
pub fn read_directory(root: &Path) -> Result<Tree, PublishError> {
    let metadata = fs::metadata(root).map_err(PublishError::file("read", root))?;
    if !metadata.is_dir() {
        return Err(PublishError::Tree(format!("{} is no directory", root.display())));
    }
    let mut reader = Reader { root, device: metadata.dev(), links: HashMap::new() };
    let mut tree = Tree::default();
    put(&mut tree, b"", inode(root, &metadata, Kind::Directory)?)?;
    reader.read(&mut tree, &Name::new())?;
    Ok(tree)
}

struct Reader<'a> {
    root: &'a Path,
    /// What `root` is on.
    device: u64,
    /// The first name of each file that has several, by its number.
    links: HashMap<u64, Name>,
}

impl Reader<'_> {
    fn read(&mut self, tree: &mut Tree, directory: &Name) -> Result<(), PublishError> {
        let path = self.path(directory);
        let mut names = Vec::new();
        for entry in fs::read_dir(&path).map_err(PublishError::file("read", &path))? {
            let entry = entry.map_err(PublishError::file("read", &path))?;
            names.push(entry.file_name().into_vec());
        }
        names.sort_unstable();
        for name in names {
            self.read_one(tree, join(directory, &name))?;
        }
        Ok(())
    }

    fn read_one(&mut self, tree: &mut Tree, name: Name) -> Result<(), PublishError> {
        let path = self.path(&name);
        let metadata = fs::symlink_metadata(&path).map_err(PublishError::file("read", &path))?;
        let file_type = metadata.file_type();
        let kind = if file_type.is_dir() {
            put(tree, &name, inode(&path, &metadata, Kind::Directory)?)?;
            return match metadata.dev() == self.device {
                true => self.read(tree, &name),
                false => Ok(()),
            };
        } else if file_type.is_symlink() {
            let target = fs::read_link(&path).map_err(PublishError::file("read", &path))?;
            Kind::Link(target.into_os_string().into_vec())
        } else if file_type.is_fifo() {
            Kind::Fifo
        } else if file_type.is_file() {
            Kind::File(Content::Path(path.clone()))
        } else if file_type.is_socket() || name.starts_with(b"dev/") {
            return Ok(());
        } else {
            return Err(PublishError::Tree(format!("{} is a device", path.display())));
        };
        if metadata.nlink() > 1 {
            if let Some(first) = self.links.get(&metadata.ino()) {
                return tree.link(&name, first).map(|_| ()).map_err(name_error);
            }
            self.links.insert(metadata.ino(), name.clone());
        }
        put(tree, &name, inode(&path, &metadata, kind)?)
    }

    fn path(&self, name: &[u8]) -> PathBuf {
        self.root.join(std::ffi::OsStr::from_bytes(name))
    }
}

fn put(tree: &mut Tree, name: &[u8], inode: Inode) -> Result<(), PublishError> {
    tree.put(name, inode).map(|_| ()).map_err(name_error)
}

fn name_error(error: NameError) -> PublishError {
    PublishError::Tree(error.to_string())
}

fn inode(path: &Path, metadata: &Metadata, kind: Kind) -> Result<Inode, PublishError> {
    Ok(Inode {
        kind,
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: metadata.mtime(),
        xattrs: xattrs(path).map_err(|error| PublishError::file("read", path)(error.into()))?,
    })
}

fn xattrs(path: &Path) -> rustix::io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut space = vec![0; XATTR_LIMIT];
    let length = match rustix::fs::llistxattr(path, &mut space[..]) {
        Err(rustix::io::Errno::NOTSUP) => return Ok(BTreeMap::new()),
        length => length?,
    };
    let names = space.get(..length).unwrap_or_default().to_vec();
    let mut found = BTreeMap::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let length = rustix::fs::lgetxattr(path, name, &mut space[..])?;
        found.insert(name.to_vec(), space.get(..length).unwrap_or_default().to_vec());
    }
    Ok(found)
}
