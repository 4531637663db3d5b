// SPDX-License-Identifier: MIT OR Apache-2.0

//! Writes OCI layout directories (OCI image spec v1.1, "Image Layout").
//!
//! Every file gets its final name only when it is whole, so a reader never sees half a
//! blob, and a run that was cut off leaves a layout that the next run continues. Nothing
//! here is made durable against power loss: blobs are named by their hash, whoever takes
//! one up again checks it.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use flipside_image::bounded::{self, ENTRIES};
use flipside_image::delta::DELTA_TYPE;
use flipside_image::{Descriptor, Digest, INDEX_TYPE, MANIFEST_LIMIT, Platform};
use flipside_source::TAG_ANNOTATION;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use tempfile::NamedTempFile;

use super::PublishError;

/// What the file `oci-layout` says (OCI image spec, "oci-layout file").
const LAYOUT_VERSION: &str = "1.0.0";

/// How files begin that are not whole yet.
const TEMPORARY: &str = ".flipside-";

/// An OCI layout that is written to.
#[derive(Debug)]
pub struct LayoutWriter {
    directory: PathBuf,
}

/// A blob that has no name yet. Dropped, it is gone.
#[derive(Debug)]
pub struct NewBlob<'a> {
    layout: &'a LayoutWriter,
    file: NamedTempFile,
}

impl LayoutWriter {
    /// Opens the layout in `directory`, or makes one where nothing is yet.
    ///
    /// # Errors
    /// [`PublishError::OutputExists`] where other things are in the directory;
    /// [`PublishError::LayoutInvalid`] for a layout of another version.
    pub fn open(directory: &Path) -> Result<Self, PublishError> {
        let layout = Self { directory: directory.to_owned() };
        let marker = directory.join("oci-layout");
        match fs::read(&marker) {
            Ok(bytes) => layout.check_version(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(directory).map_err(PublishError::file("create", directory))?;
                layout.check_empty()?;
                let bytes = json!({ "imageLayoutVersion": LAYOUT_VERSION }).to_string();
                layout.replace("oci-layout", bytes.as_bytes())?;
            }
            Err(source) => {
                return Err(PublishError::File { operation: "read", path: marker, source });
            }
        }
        let blobs = layout.blobs();
        fs::create_dir_all(&blobs).map_err(PublishError::file("create", &blobs))?;
        Ok(layout)
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the blob called `digest` is or will be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// Begins a blob.
    ///
    /// # Errors
    /// [`PublishError::File`].
    pub fn new_blob(&self) -> Result<NewBlob<'_>, PublishError> {
        Ok(NewBlob { layout: self, file: self.temporary()? })
    }

    /// Writes a small blob and gives its digest.
    ///
    /// # Errors
    /// [`PublishError::File`].
    pub fn write_blob(&self, bytes: &[u8]) -> Result<Digest, PublishError> {
        let digest = Digest::of(bytes);
        let mut blob = self.new_blob()?;
        blob.write(bytes)?;
        blob.commit(&digest)?;
        Ok(digest)
    }

    /// Lists `manifest` in the index, under `tag` where there is one. An entry of the same
    /// tag is replaced; without a tag, the untagged entry for the same platform. All other
    /// entries stay, with whatever fields they have.
    ///
    /// # Errors
    /// [`PublishError::LayoutInvalid`] where there is an index that cannot be read.
    pub fn list(&self, manifest: &Descriptor, tag: Option<&str>) -> Result<(), PublishError> {
        let mut entry = manifest.clone();
        entry.annotations.remove(TAG_ANNOTATION);
        if let Some(tag) = tag {
            entry.annotations.insert(TAG_ANNOTATION.to_owned(), tag.to_owned());
        }
        self.replace_entries(&entry, |other| is_replaced(other, &entry))
    }

    /// Lists `artifact`, which belongs to an image, without a tag, in place of the entries that
    /// `is_replaced`. All others stay.
    ///
    /// # Errors
    /// As [`LayoutWriter::list`].
    pub fn attach(
        &self,
        artifact: &Descriptor,
        is_replaced: impl Fn(&Descriptor) -> bool,
    ) -> Result<(), PublishError> {
        self.replace_entries(artifact, |other| {
            // What cannot be understood is somebody else's.
            let other = serde_json::from_str::<Descriptor>(other.get());
            other.is_ok_and(|other| {
                !other.annotations.contains_key(TAG_ANNOTATION)
                    && (other.digest == artifact.digest || is_replaced(&other))
            })
        })
    }

    fn replace_entries(
        &self,
        entry: &Descriptor,
        is_replaced: impl Fn(&RawValue) -> bool,
    ) -> Result<(), PublishError> {
        let path = self.directory.join("index.json");
        // Two builds into one layout must not lose each other's entry.
        let lock = File::open(&self.directory).map_err(PublishError::file("open", &path))?;
        lock.lock().map_err(PublishError::file("lock", &self.directory))?;
        let written = |error: serde_json::Error| self.invalid(error.to_string());
        let mut index = self.read_index()?;
        let listed = match index.get("manifests") {
            Some(listed) => serde_json::from_str(listed.get()),
            None => Ok(Entries::default()),
        };
        let Entries(mut entries) =
            listed.map_err(|_| self.invalid("its index lists nothing".to_owned()))?;
        entries.retain(|other| !is_replaced(other));
        entries.push(to_raw_value(entry).map_err(written)?);
        index.insert("manifests".to_owned(), to_raw_value(&entries).map_err(written)?);
        self.replace("index.json", &serde_json::to_vec_pretty(&index).map_err(written)?)
    }

    fn read_index(&self) -> Result<BTreeMap<String, Box<RawValue>>, PublishError> {
        let path = self.directory.join("index.json");
        let size = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let version = to_raw_value(&2).map(|value| ("schemaVersion".to_owned(), value));
                let kind = to_raw_value(INDEX_TYPE).map(|value| ("mediaType".to_owned(), value));
                let index = [version, kind].into_iter().collect::<Result<_, _>>();
                return index.map_err(|error| self.invalid(error.to_string()));
            }
            Err(source) => return Err(PublishError::File { operation: "read", path, source }),
        };
        if size > MANIFEST_LIMIT {
            return Err(self.invalid(format!("its index has {size} bytes")));
        }
        let bytes = fs::read(&path).map_err(PublishError::file("read", &path))?;
        let index = serde_json::from_slice::<Members>(&bytes);
        let index =
            index.map_err(|error| self.invalid(format!("its index cannot be read: {error}")));
        Ok(index?.0)
    }

    fn check_version(&self, bytes: &[u8]) -> Result<(), PublishError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Marker {
            image_layout_version: String,
        }
        let marker = serde_json::from_slice::<Marker>(bytes).ok();
        match marker.as_ref().map(|marker| marker.image_layout_version.as_str()) {
            Some(LAYOUT_VERSION) => Ok(()),
            Some(other) => Err(self.invalid(format!(
                "it has version {:?}, flipside knows only {LAYOUT_VERSION:?}",
                other.chars().take(40).collect::<String>()
            ))),
            None => Err(self.invalid("its file oci-layout names no version".to_owned())),
        }
    }

    fn check_empty(&self) -> Result<(), PublishError> {
        let failed = || PublishError::file("list", &self.directory);
        for entry in fs::read_dir(&self.directory).map_err(failed())? {
            let name = entry.map_err(failed())?.file_name();
            if !name.to_string_lossy().starts_with(TEMPORARY) {
                return Err(PublishError::OutputExists {
                    path: self.directory.clone(),
                    what: "it is neither empty nor an OCI layout",
                });
            }
        }
        Ok(())
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), PublishError> {
        let path = self.directory.join(name);
        let mut file = self.temporary()?;
        file.write_all(bytes).map_err(PublishError::file("write", &path))?;
        file.persist(&path).map_err(|e| PublishError::file("write", &path)(e.error))?;
        Ok(())
    }

    fn temporary(&self) -> Result<NamedTempFile, PublishError> {
        temporary_in(&self.directory)
    }

    fn blobs(&self) -> PathBuf {
        self.directory.join("blobs").join("sha256")
    }

    fn invalid(&self, what: String) -> PublishError {
        PublishError::LayoutInvalid { path: self.directory.clone(), what }
    }
}

/// A file in `directory` that vanishes unless it is given a name.
pub(super) fn temporary_in(directory: &Path) -> Result<NamedTempFile, PublishError> {
    tempfile::Builder::new()
        .prefix(TEMPORARY)
        // Less what the umask takes: what is published is for others to read.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory)
        .map_err(PublishError::file("create a file in", directory))
}

/// The members of an index, as they are.
#[derive(Deserialize)]
#[serde(transparent)]
struct Members(
    #[serde(deserialize_with = "bounded::map::<ENTRIES, _, _>")] BTreeMap<String, Box<RawValue>>,
);

/// The entries of an index, as they are.
#[derive(Deserialize, Default)]
#[serde(transparent)]
struct Entries(#[serde(deserialize_with = "bounded::list::<ENTRIES, _, _>")] Vec<Box<RawValue>>);

/// Whether `entry` takes the place of `other` in an index.
fn is_replaced(other: &RawValue, entry: &Descriptor) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Other {
        #[serde(default)]
        media_type: String,
        #[serde(default)]
        artifact_type: Option<String>,
        #[serde(default)]
        platform: Option<Platform>,
        #[serde(default, deserialize_with = "bounded::map::<ENTRIES, _, _>")]
        annotations: BTreeMap<String, String>,
    }
    // What cannot be understood is somebody else's.
    let Ok(other) = serde_json::from_str::<Other>(other.get()) else { return false };
    let tag = entry.annotations.get(TAG_ANNOTATION);
    if tag.is_some() {
        return other.annotations.get(TAG_ANNOTATION) == tag;
    }
    !other.annotations.contains_key(TAG_ANNOTATION)
        && other.artifact_type.as_deref() != Some(DELTA_TYPE)
        && other.media_type == entry.media_type
        && other.platform == entry.platform
}

impl NewBlob<'_> {
    /// The file, to clone extents into.
    pub fn file(&self) -> &File {
        self.file.as_file()
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// [`PublishError::File`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), PublishError> {
        let failed = PublishError::file("write a blob in", &self.layout.directory);
        self.file.as_file_mut().write_all(bytes).map_err(failed)
    }

    /// Gives the blob its name. What has that name already is replaced: it may have been
    /// damaged since, this one was just hashed.
    ///
    /// # Errors
    /// [`PublishError::File`].
    pub fn commit(self, digest: &Digest) -> Result<(), PublishError> {
        let path = self.layout.blob_path(digest);
        self.file.persist(&path).map_err(|e| PublishError::file("write", &path)(e.error))?;
        Ok(())
    }
}
