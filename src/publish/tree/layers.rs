// SPDX-License-Identifier: MIT OR Apache-2.0

//! A tree from the layers of a container image (OCI image spec v1.1, "Image Layer Filesystem
//! Changeset").

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;

use flipside_core::blob_source::BlobSource;
use flipside_image::{Descriptor, Hasher};
use tar::{Archive, Entry, EntryType};

use super::super::PublishError;
use super::super::container::{Container, Layer, LayerCompression};
use super::{Content, Inode, Kind, Name, NameError, Tree, base_of, directory_of, join, shown};

/// How whiteouts begin, and the one that hides all that lower layers have in a directory.
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// How extended attributes are called in archives (pax of star, used by Go and GNU tar).
const XATTR: &[u8] = b"SCHILY.xattr.";
/// The largest window that a zstd stream may ask for, as `zstd` itself allows: 2^27 bytes.
const WINDOW_LOG: u32 = 27;

/// Fetches the layers of `container`, checks their digests, and lays them over each other. Their
/// bytes are kept in files without a name below `scratch`, as long as the tree lives.
///
/// # Errors
/// The source's; [`PublishError::Tree`] for an archive that is damaged or has what no image may have.
pub fn read_layers(
    source: &dyn BlobSource,
    container: &Container,
    scratch: &Path,
) -> Result<Tree, PublishError> {
    let mut tree = Tree::default();
    for layer in &container.layers {
        let fetched = fetch(source, &layer.descriptor, scratch)?;
        let archive = decompress(fetched, layer, scratch)?;
        add(&mut tree, archive, scratch).map_err(|error| match error {
            LayerError::Archive(what) => {
                PublishError::Tree(format!("the layer {}: {what}", layer.descriptor.digest))
            }
            LayerError::Publish(error) => error,
        })?;
    }
    Ok(tree)
}

/// Why a layer cannot be added.
#[derive(Debug)]
enum LayerError {
    /// As the end of a sentence.
    Archive(String),
    Publish(PublishError),
}

impl From<NameError> for LayerError {
    fn from(error: NameError) -> Self {
        Self::Archive(error.to_string())
    }
}

impl From<io::Error> for LayerError {
    fn from(error: io::Error) -> Self {
        Self::Archive(format!("the archive is damaged: {error}"))
    }
}

fn scratch_file(scratch: &Path) -> Result<File, PublishError> {
    tempfile::tempfile_in(scratch).map_err(PublishError::file("create a file in", scratch))
}

fn fetch(source: &dyn BlobSource, blob: &Descriptor, scratch: &Path) -> Result<File, PublishError> {
    let mut file = scratch_file(scratch)?;
    let (mut hasher, mut failed) = (Hasher::new(), None);
    source.stream(blob, 0..blob.size, &mut |piece| {
        hasher.update(piece);
        if let Err(error) = file.write_all(piece) {
            failed.get_or_insert(error);
        }
        Ok(())
    })?;
    match failed {
        Some(error) => return Err(PublishError::file("write to", scratch)(error)),
        None if hasher.finish() != blob.digest => {
            let what = format!("the layer {} came with other bytes than its digest", blob.digest);
            return Err(PublishError::Tree(what));
        }
        None => {}
    }
    file.seek(SeekFrom::Start(0)).map_err(PublishError::file("read from", scratch))?;
    Ok(file)
}

fn decompress(mut from: File, layer: &Layer, scratch: &Path) -> Result<File, PublishError> {
    let mut to = match layer.compression {
        LayerCompression::None => return Ok(from),
        LayerCompression::Gzip | LayerCompression::Zstd => scratch_file(scratch)?,
    };
    let damaged = |error: io::Error| {
        let digest = layer.descriptor.digest;
        PublishError::Tree(format!("the layer {digest} cannot be unpacked: {error}"))
    };
    let reader = BufReader::new(&mut from);
    match layer.compression {
        LayerCompression::None => {}
        LayerCompression::Gzip => {
            io::copy(&mut flate2::bufread::MultiGzDecoder::new(reader), &mut to)
                .map_err(damaged)?;
        }
        LayerCompression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(reader).map_err(damaged)?;
            decoder.window_log_max(WINDOW_LOG).map_err(damaged)?;
            io::copy(&mut decoder, &mut to).map_err(damaged)?;
        }
    }
    to.seek(SeekFrom::Start(0)).map_err(PublishError::file("read from", scratch))?;
    Ok(to)
}

/// Lays one archive over the tree.
fn add(tree: &mut Tree, archive: File, scratch: &Path) -> Result<(), LayerError> {
    let archive = Arc::new(archive);
    let mut reader = Archive::new(BufReader::with_capacity(256 << 10, &*archive));
    // What this layer has put: its whiteouts hide only what is from the layers below.
    let mut own = BTreeSet::new();
    for entry in reader.entries()? {
        let mut entry = entry?;
        let name = entry.path_bytes().into_owned();
        let plain = name.strip_suffix(b"/").unwrap_or(&name);
        let (directory, base) = (directory_of(plain), base_of(plain));
        if base == OPAQUE {
            hide_all(tree, directory, &own);
        } else if let Some(hidden) = base.strip_prefix(WHITEOUT) {
            hide(tree, &join(directory, hidden), &own)?;
        } else if let Some(name) = put(tree, &archive, &mut entry, &name, scratch)? {
            own.insert(name);
        }
    }
    Ok(())
}

/// Hides what the layers below have in `directory`.
fn hide_all(tree: &mut Tree, directory: &[u8], own: &BTreeSet<Name>) {
    let Some(directory) = tree.resolve(directory) else { return };
    for name in tree.below(&directory).into_iter().rev() {
        let has_own =
            own.contains(&name) || tree.below(&name).iter().any(|name| own.contains(name));
        if !has_own {
            tree.remove(&name);
        }
    }
}

/// Hides `name`, if it is from a layer below.
fn hide(tree: &mut Tree, name: &[u8], own: &BTreeSet<Name>) -> Result<(), NameError> {
    super::parts(name)?;
    let Some(directory) = tree.resolve(directory_of(name)) else { return Ok(()) };
    let name = join(&directory, base_of(name));
    if own.contains(&name) {
        hide_all(tree, &name, own);
    } else {
        tree.remove(&name);
    }
    Ok(())
}

/// Puts what `entry` is into the tree. Returns where it stands now; `None` for what no image has.
fn put(
    tree: &mut Tree,
    archive: &Arc<File>,
    entry: &mut Entry<'_, impl Read>,
    name: &[u8],
    scratch: &Path,
) -> Result<Option<Name>, LayerError> {
    let kind = match entry.header().entry_type() {
        EntryType::Directory => Kind::Directory,
        EntryType::Fifo => Kind::Fifo,
        EntryType::Symlink | EntryType::Link => {
            let target = entry.link_name_bytes();
            let target =
                target.ok_or_else(|| LayerError::Archive("a link leads nowhere".into()))?;
            let target = target.into_owned();
            if entry.header().entry_type() == EntryType::Link {
                return Ok(Some(tree.link(name, &target)?));
            }
            Kind::Link(target)
        }
        EntryType::Regular | EntryType::Continuous => {
            let (offset, length) = (entry.raw_file_position(), entry.size());
            Kind::File(Content::Part { file: Arc::clone(archive), offset, length })
        }
        EntryType::GNUSparse => Kind::File(expanded(entry, scratch)?),
        EntryType::Char | EntryType::Block => {
            let is_in_dev = super::parts(name)?.first() == Some(&&b"dev"[..]);
            return match is_in_dev {
                true => Ok(None),
                false => Err(LayerError::Archive(format!("{:?} is a device", shown(name)))),
            };
        }
        EntryType::XGlobalHeader => return Ok(None),
        other => {
            let kind = other.as_byte() as char;
            let what = format!("{:?} is of the kind {kind:?}, which no image has", shown(name));
            return Err(LayerError::Archive(what));
        }
    };
    let inode = inode(entry, name, kind)?;
    Ok(Some(tree.put(name, inode)?))
}

/// A file of which the archive leaves out the holes.
fn expanded(entry: &mut impl Read, scratch: &Path) -> Result<Content, LayerError> {
    let mut file = scratch_file(scratch).map_err(LayerError::Publish)?;
    let length = io::copy(entry, &mut file)?;
    Ok(Content::Part { file: Arc::new(file), offset: 0, length })
}

fn inode(entry: &mut Entry<'_, impl Read>, name: &[u8], kind: Kind) -> Result<Inode, LayerError> {
    let number = |number: u64, what: &str| {
        u32::try_from(number)
            .map_err(|_| LayerError::Archive(format!("{:?} has the {what} {number}", shown(name))))
    };
    let header = entry.header();
    let mut inode = Inode {
        kind,
        mode: header.mode()? & 0o7777,
        uid: number(header.uid()?, "owner")?,
        gid: number(header.gid()?, "group")?,
        mtime: i64::try_from(header.mtime()?).unwrap_or(0),
        xattrs: std::collections::BTreeMap::new(),
    };
    let Some(extensions) = entry.pax_extensions()? else { return Ok(inode) };
    for extension in extensions {
        let extension = extension?;
        let (key, value) = (extension.key_bytes(), extension.value_bytes());
        let text = std::str::from_utf8(value).unwrap_or_default();
        if let Some(xattr) = key.strip_prefix(XATTR) {
            inode.xattrs.insert(xattr.to_vec(), value.to_vec());
        } else if key == b"mtime" {
            let seconds = text.split('.').next().unwrap_or_default();
            inode.mtime = seconds.parse().unwrap_or(inode.mtime);
        } else if key == b"uid" {
            inode.uid = text.parse().unwrap_or(inode.uid);
        } else if key == b"gid" {
            inode.gid = text.parse().unwrap_or(inode.gid);
        } else if key.starts_with(b"GNU.sparse.") {
            let what = "is stored without its holes by pax, which is not read here";
            return Err(LayerError::Archive(format!("{:?} {what}", shown(name))));
        }
    }
    Ok(inode)
}
