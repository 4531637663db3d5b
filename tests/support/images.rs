// SPDX-License-Identifier: MIT OR Apache-2.0

//! Small OS images, made by the real builder from content that a seed decides.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use flipside::report::progress::Silent;
use flipside_core::cancel::Cancel;
use flipside_image::{Architecture, ChunkSize, Digest, Image, PartitionIdentity, ProductInfo};
use flipside_publish::build::{self, LayerEncoding, PayloadFile, Plan};

/// An image to be made; by default x86_64, payloads `kernel.efi` (20 000 bytes) and
/// `system` (300 000 bytes), chunks of 64 KiB, zstd, no tag.
#[derive(Debug, Clone)]
pub struct ImageBuilder {
    pub version: String,
    pub architecture: Architecture,
    pub chunk_size: u64,
    pub encoding: LayerEncoding,
    pub tag: Option<String>,
    pub annotations: BTreeMap<String, String>,
    pub payloads: Vec<(String, Vec<u8>)>,
    pub partitions: BTreeMap<String, PartitionIdentity>,
    pub workers: Option<usize>,
    pub allow_unbootable: bool,
}

/// An image that was made, and what went into it.
#[allow(dead_code)]
#[derive(Debug, Clone)]
pub struct OsImage {
    /// The directory of the OCI layout that holds it.
    pub layout: PathBuf,
    /// The manifest's digest.
    pub digest: Digest,
    pub version: String,
    pub tag: Option<String>,
    pub image: Image,
    pub payloads: BTreeMap<String, Vec<u8>>,
}

#[allow(dead_code)]
impl ImageBuilder {
    /// An image of this version. Versions differ in some chunks of `system` and share the others.
    pub fn new(version: &str) -> Self {
        let architecture = Architecture::X86_64;
        let seed = seed_of(version);
        let mut builder = Self {
            version: version.into(),
            architecture,
            chunk_size: 64 << 10,
            encoding: LayerEncoding::Zstd(3),
            tag: None,
            annotations: BTreeMap::new(),
            payloads: vec![
                ("kernel.efi".into(), kernel(architecture, seed, 20_000)),
                ("system".into(), content(1, 300_000)),
            ],
            partitions: BTreeMap::new(),
            workers: None,
            allow_unbootable: false,
        };
        builder.payloads[1].1[70_000..150_000].copy_from_slice(&content(seed, 80_000));
        builder
    }

    /// For another machine, with a kernel for it.
    pub fn architecture(mut self, architecture: Architecture) -> Self {
        self.architecture = architecture;
        let kernel = kernel(architecture, seed_of(&self.version), 20_000);
        self.payload("kernel.efi", kernel)
    }

    /// With this payload, in the place of one of the same name.
    pub fn payload(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        match self.payloads.iter_mut().find(|(other, _)| other == name) {
            Some((_, old)) => *old = bytes,
            None => self.payloads.push((name.into(), bytes)),
        }
        self
    }

    /// Without any payload so far.
    pub fn without_payloads(mut self) -> Self {
        self.allow_unbootable = true;
        self.payloads.clear();
        self
    }

    /// With `system` of this many bytes.
    pub fn system_size(self, size: usize) -> Self {
        let seed = seed_of(&self.version);
        self.payload("system", content(seed, size))
    }

    pub fn chunk_size(mut self, bytes: u64) -> Self {
        self.chunk_size = bytes;
        self
    }

    pub fn uncompressed(mut self) -> Self {
        self.encoding = LayerEncoding::Uncompressed;
        self
    }

    pub fn tag(mut self, tag: &str) -> Self {
        self.tag = Some(tag.into());
        self
    }

    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    pub fn partition(mut self, payload: &str, identity: PartitionIdentity) -> Self {
        self.partitions.insert(payload.into(), identity);
        self
    }

    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Also one that no host could boot.
    pub fn unbootable(mut self) -> Self {
        self.allow_unbootable = true;
        self
    }

    /// The plan, with the payloads as files in `directory`.
    pub fn plan(&self, directory: &Path, layout: &Path) -> Plan {
        let payloads = self.payloads.iter().map(|(name, bytes)| {
            let file = directory.join(name);
            std::fs::write(&file, bytes).unwrap();
            let partition = self.partitions.get(name).copied();
            PayloadFile { name: name.parse().unwrap(), file, partition }
        });
        let info = ProductInfo {
            id: "acme".into(),
            name: "Acme OS".into(),
            version: self.version.clone(),
            variant: self.architecture.name().into(),
            commit_hash: String::new(),
            commit_date: String::new(),
            build_tree_dirty: false,
            components: None,
        };
        let mut plan = Plan::new(info, payloads.collect(), layout);
        plan.encoding = self.encoding;
        plan.chunk_size = ChunkSize::new(self.chunk_size).unwrap();
        plan.tag.clone_from(&self.tag);
        plan.annotations.clone_from(&self.annotations);
        plan.allow_unbootable = self.allow_unbootable;
        plan.workers = self.workers.and_then(std::num::NonZeroUsize::new);
        plan
    }

    /// Writes the image into the layout in `layout`, which may exist.
    pub fn write(&self, layout: impl AsRef<Path>) -> OsImage {
        let layout = layout.as_ref();
        let files = tempfile::tempdir().unwrap();
        let plan = self.plan(files.path(), layout);
        let built = build::build(&plan, &Silent, &Cancel::new()).unwrap();
        OsImage {
            layout: layout.into(),
            digest: built.image.digest,
            version: self.version.clone(),
            tag: self.tag.clone(),
            image: built.image,
            payloads: self.payloads.iter().cloned().collect(),
        }
    }
}

#[allow(dead_code)]
impl OsImage {
    /// The bytes of a payload.
    pub fn payload(&self, name: &str) -> &[u8] {
        &self.payloads[name]
    }

    /// The file of a blob in the layout.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.layout.join("blobs/sha256").join(digest.hex())
    }

    /// The file of a payload's layer in the layout.
    pub fn layer_file(&self, payload: &str) -> PathBuf {
        self.blob(&self.image.layer(payload).unwrap().descriptor.digest)
    }
}

fn seed_of(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// `size` bytes that a seed decides: blocks of 4 KiB that are random, repetitive or zero,
/// so that it compresses to about half, as file systems do.
pub fn content(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed;
    // splitmix64 (Steele, Lea, Flood 2014).
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mut bytes = Vec::with_capacity(size + 4096);
    while bytes.len() < size {
        match next() % 4 {
            0 | 1 => (0..512).for_each(|_| bytes.extend(next().to_le_bytes())),
            2 => {
                let word = next().to_le_bytes();
                (0..512).for_each(|_| bytes.extend(word));
            }
            _ => bytes.resize(bytes.len() + 4096, 0),
        }
    }
    bytes.truncate(size);
    bytes
}

/// What passes for a UKI: a PE32+ header of an EFI application, then one section of content. `size`
/// is at least 512 (PE format: "MS-DOS stub", "COFF file header", "Optional header", "Section
/// table").
pub fn kernel(architecture: Architecture, seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = content(seed, size.max(512));
    bytes[..512].fill(0);
    let section = u32::try_from(bytes.len() - 512).unwrap();
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, b"MZ");
    put(0x3c, &0x80_u32.to_le_bytes());
    put(0x80, b"PE\0\0");
    let machine: u16 = match architecture {
        Architecture::X86_64 => 0x8664,
        Architecture::Aarch64 => 0xaa64,
    };
    put(0x84, &machine.to_le_bytes());
    put(0x86, &1_u16.to_le_bytes()); // sections
    put(0x94, &112_u16.to_le_bytes()); // size of the optional header, no data directories
    put(0x96, &0x0022_u16.to_le_bytes()); // executable, large addresses
    put(0x98, &0x020b_u16.to_le_bytes()); // PE32+
    put(0x98 + 16, &4096_u32.to_le_bytes()); // entry point
    put(0x98 + 32, &4096_u32.to_le_bytes()); // section alignment
    put(0x98 + 36, &512_u32.to_le_bytes()); // file alignment
    put(0x98 + 56, &(section.next_multiple_of(4096) + 4096).to_le_bytes()); // size in memory
    put(0x98 + 60, &512_u32.to_le_bytes()); // size of headers
    put(0x98 + 68, &10_u16.to_le_bytes()); // subsystem: EFI application
    put(0x108, b".text\0\0\0");
    put(0x110, &section.to_le_bytes()); // size and address in memory, size and place in the file
    put(0x114, &4096_u32.to_le_bytes());
    put(0x118, &section.to_le_bytes());
    put(0x11c, &512_u32.to_le_bytes());
    bytes
}
