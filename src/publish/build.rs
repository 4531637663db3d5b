// SPDX-License-Identifier: MIT OR Apache-2.0

//! Files in, an OS image in an OCI layout out.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use flipside_core::cancel::Cancel;
use flipside_core::progress::{Event, Phase, Progress};
use flipside_image::constraints::Asks;
use flipside_image::{
    ARTIFACT_TYPE, BOOT_FILE_PAYLOAD, CONFIG_LIMIT, CONFIG_TYPE, ChunkSize, Compression,
    DEFAULT_CHUNK_SIZE, Descriptor, FrameTable, Image, ImageConfig, ImageError, MANIFEST_TYPE,
    Manifest, PartitionIdentity, Payload, PayloadName, Platform, ProductInfo, SYSTEM_PAYLOAD,
    Unbootable, VERSION_ANNOTATION, check_identities, pe,
};

use super::PublishError;
use super::input::Input;
use super::layer::{Recipe, Stored};
use super::layout::LayoutWriter;

pub use super::layer::LayerEncoding;

/// The level of [`LayerEncoding::Zstd`] that is chosen where nobody chooses: the first at which
/// independent frames of 1 MiB are no larger than one stream at zstd's own default, 3.
pub const DEFAULT_LEVEL: i32 = 6;

/// When the image was made, RFC 3339 (OCI image spec, "Annotations").
pub const CREATED_ANNOTATION: &str = "org.opencontainers.image.created";
/// The commit that it was made from (OCI image spec, "Annotations").
pub const REVISION_ANNOTATION: &str = "org.opencontainers.image.revision";

/// An image to be built. The same plan over the same bytes gives the same image.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What the OS is.
    pub product_info: ProductInfo,
    /// Its payloads, in the order they are to have.
    pub payloads: Vec<PayloadFile>,
    /// How they are stored.
    pub encoding: LayerEncoding,
    /// The size of their chunks.
    pub chunk_size: ChunkSize,
    /// The tag in the layout.
    pub tag: Option<String>,
    /// Manifest annotations besides version and revision.
    pub annotations: BTreeMap<String, String>,
    /// How many threads compress; `None`: as many as there are cores.
    pub workers: Option<NonZeroUsize>,
    /// Build it also where no host could boot it. For tests.
    pub allow_unbootable: bool,
    /// The directory of the layout: new, empty, or a layout that gains the image.
    pub output: PathBuf,
}

/// A payload to be.
#[derive(Debug, Clone)]
pub struct PayloadFile {
    /// Its name.
    pub name: PayloadName,
    /// The regular file or block device that has its bytes.
    pub file: PathBuf,
    /// What the partition that receives it is to be called.
    pub partition: Option<PartitionIdentity>,
}

/// An image that was built.
#[derive(Debug, Clone)]
pub struct Built {
    /// The image, as a reader has it.
    pub image: Image,
    /// Its entry in the layout's index, without the tag.
    pub manifest: Descriptor,
}

impl Plan {
    /// A plan with the defaults: zstd at [`DEFAULT_LEVEL`], chunks of
    /// [`DEFAULT_CHUNK_SIZE`], no tag.
    pub fn new(
        product_info: ProductInfo,
        payloads: Vec<PayloadFile>,
        output: impl Into<PathBuf>,
    ) -> Self {
        Self {
            product_info,
            payloads,
            encoding: LayerEncoding::Zstd(DEFAULT_LEVEL),
            chunk_size: DEFAULT_CHUNK_SIZE,
            tag: None,
            annotations: BTreeMap::new(),
            workers: None,
            allow_unbootable: false,
            output: output.into(),
        }
    }

    fn check(&self) -> Result<(), PublishError> {
        let invalid = |what: String| Err(PublishError::PlanInvalid { what });
        let info = &self.product_info;
        for (what, text) in [("id", &info.id), ("name", &info.name), ("version", &info.version)] {
            if text.is_empty() || text.len() > 128 || text.chars().any(char::is_control) {
                return invalid(format!(
                    "the {what} {text:?} is not 1 to 128 printable characters"
                ));
            }
        }
        if info.architecture().is_none() {
            let what = "does not begin with x86_64 or aarch64";
            return invalid(format!("the variant {:?} {what}", info.variant));
        }
        if self.payloads.is_empty() {
            return invalid("it has no payload".to_owned());
        }
        let mut names = std::collections::BTreeSet::new();
        if let Some(twice) = self.payloads.iter().find(|p| !names.insert(&p.name)) {
            return invalid(format!("two payloads are called {}", twice.name));
        }
        if let LayerEncoding::Zstd(level) = self.encoding
            && !(1..=22).contains(&level)
        {
            return invalid(format!("the zstd level {level} is not between 1 and 22"));
        }
        if let Some(annotated) = self.annotations.get(VERSION_ANNOTATION)
            && *annotated != info.version
        {
            let version = &info.version;
            return invalid(format!("its version is {version:?}, the annotation {annotated:?}"));
        }
        if let Err(error) = Asks::of(&self.annotations) {
            return invalid(error.to_string());
        }
        match &self.tag {
            Some(tag) if !is_tag(tag) => invalid(format!("{tag:?} is no tag")),
            _ => Ok(()),
        }
    }
}

/// Whether a registry takes `text` as a tag (OCI distribution spec, "Pulling manifests").
pub fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
        && text.bytes().next().is_some_and(word)
}

/// Builds the image of `plan`.
///
/// Nothing is listed in the layout until the image is whole; what a failed run leaves are
/// blobs under their right names.
///
/// # Errors
/// Any [`PublishError`] but [`PublishError::Source`].
pub fn build(plan: &Plan, progress: &dyn Progress, stop: &Cancel) -> Result<Built, PublishError> {
    plan.check()?;
    let inputs = plan
        .payloads
        .iter()
        .map(|payload| Input::open(payload.name.as_str(), &payload.file))
        .collect::<Result<Vec<_>, _>>()?;
    if !plan.allow_unbootable {
        plan.check_bootable(&inputs)?;
    }
    let layout = LayoutWriter::open(&plan.output)?;
    let recipe = Recipe {
        encoding: plan.encoding,
        chunk_size: plan.chunk_size,
        workers: plan.workers,
        progress,
        stop,
    };
    check_config_size(plan, &inputs)?;
    progress.event(Event::Phase(Phase::Writing));
    let mut payloads = Vec::with_capacity(inputs.len());
    let mut layers = Vec::with_capacity(inputs.len());
    for (payload, input) in plan.payloads.iter().zip(&inputs) {
        let name = payload.name.as_str().to_owned();
        progress.event(Event::Payload { name, size: input.size(), kept: 0, fetch: 0 });
        let stored = store(&layout, &recipe, input)?;
        let media_type = compression(plan.encoding).media_type();
        layers.push(Descriptor::new(media_type, stored.digest, stored.size));
        payloads.push(describe(plan, payload, input.size(), stored)?);
    }
    let config = ImageConfig { product_info: plan.product_info.clone(), payloads };
    if !plan.allow_unbootable {
        config.check_bootable()?;
    }
    let config = config.to_bytes()?;
    let config_descriptor = Descriptor::of(CONFIG_TYPE, &config);
    config_descriptor.check_size("config", CONFIG_LIMIT)?;
    layout.write_blob(&config)?;
    let manifest =
        Manifest::new(config_descriptor, layers, plan.manifest_annotations()).to_bytes()?;
    let digest = layout.write_blob(&manifest)?;
    // Reads the image as others will: what they would refuse is not published.
    let image = Image::assemble(digest, &manifest, &config)?;
    let entry = plan.index_entry(&image, manifest.len() as u64);
    layout.list(&entry, plan.tag.as_deref())?;
    progress.event(Event::Phase(Phase::Done));
    Ok(Built { image, manifest: entry })
}

/// Before anything is read and compressed: a host takes no larger config, and each chunk's hash has
/// 46 bytes in it.
fn check_config_size(plan: &Plan, inputs: &[Input]) -> Result<(), ImageError> {
    let chunks = inputs.iter().map(|input| plan.chunk_size.count(input.size()));
    let size = chunks.fold(0_u64, u64::saturating_add).saturating_mul(46);
    match size {
        size if size > CONFIG_LIMIT => {
            Err(ImageError::TooLarge { object: "config", size, limit: CONFIG_LIMIT })
        }
        _ => Ok(()),
    }
}

fn store(
    layout: &LayoutWriter,
    recipe: &Recipe<'_>,
    input: &Input,
) -> Result<Stored, PublishError> {
    let mut blob = layout.new_blob()?;
    if recipe.encoding == LayerEncoding::Uncompressed
        && rustix::fs::ioctl_ficlone(blob.file(), input.file()).is_ok()
    {
        // The clone is what is hashed: it does not change any more, the input may.
        let clone = Input::of_clone(input, blob.file())?;
        let stored = recipe.store(&clone, &mut |_| Ok(()))?;
        blob.commit(&stored.digest)?;
        return Ok(stored);
    }
    let stored = recipe.store(input, &mut |bytes| blob.write(bytes))?;
    input.check_unchanged()?;
    blob.commit(&stored.digest)?;
    Ok(stored)
}

fn compression(encoding: LayerEncoding) -> Compression {
    match encoding {
        LayerEncoding::Zstd(_) => Compression::Zstd,
        LayerEncoding::Uncompressed => Compression::None,
    }
}

fn describe(
    plan: &Plan,
    payload: &PayloadFile,
    size: u64,
    stored: Stored,
) -> Result<Payload, PublishError> {
    let frames = match &stored.frames {
        Some(sizes) => Some(FrameTable::new(sizes, plan.chunk_size, size)?),
        None => None,
    };
    Ok(Payload {
        name: payload.name.clone(),
        size,
        chunk_size: plan.chunk_size,
        chunks: stored.chunks,
        frames,
        partition: payload.partition,
    })
}

impl Plan {
    /// Refuses what every host would refuse, before anything is compressed.
    fn check_bootable(&self, inputs: &[Input]) -> Result<(), PublishError> {
        let has = |name: &str| self.payloads.iter().any(|payload| payload.name.as_str() == name);
        if let Some(name) = [SYSTEM_PAYLOAD, BOOT_FILE_PAYLOAD].into_iter().find(|name| !has(name))
        {
            return Err(PublishError::PayloadMissing { name });
        }
        for (payload, input) in self.payloads.iter().zip(inputs) {
            let name = payload.name.as_str();
            if input.size() == 0 && matches!(name, SYSTEM_PAYLOAD | BOOT_FILE_PAYLOAD) {
                return Err(Unbootable::Empty(name.to_owned()).into());
            }
            if let (BOOT_FILE_PAYLOAD, Some(wanted)) = (name, self.product_info.architecture()) {
                let mut head = vec![0; pe::HEADER_LIMIT];
                head.truncate(usize::try_from(input.size()).unwrap_or(usize::MAX));
                input.read(&mut head, 0)?;
                let path = payload.file.clone();
                pe::check(&head, input.size(), wanted)
                    .map_err(|flaw| PublishError::BootFile { path, flaw })?;
            }
        }
        let identities = self.payloads.iter().filter_map(|payload| {
            payload.partition.as_ref().map(|identity| (payload.name.as_str(), identity))
        });
        Ok(check_identities(identities)?)
    }

    fn manifest_annotations(&self) -> BTreeMap<String, String> {
        let info = &self.product_info;
        let mut annotations = self.annotations.clone();
        annotations.insert(VERSION_ANNOTATION.to_owned(), info.version.clone());
        if !info.commit_hash.is_empty() {
            annotations.insert(REVISION_ANNOTATION.to_owned(), info.commit_hash.clone());
        }
        annotations
    }

    fn index_entry(&self, image: &Image, size: u64) -> Descriptor {
        let platform = self.product_info.architecture().map(|architecture| Platform {
            architecture: architecture.oci_name().to_owned(),
            os: "linux".to_owned(),
        });
        Descriptor {
            media_type: MANIFEST_TYPE.to_owned(),
            digest: image.digest,
            size,
            artifact_type: Some(ARTIFACT_TYPE.to_owned()),
            platform,
            annotations: BTreeMap::new(),
        }
    }
}
