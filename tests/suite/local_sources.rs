// SPDX-License-Identifier: MIT OR Apache-2.0

//! OCI layout directories and OCI archives as sources, honest and hostile ones.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flipside_core::blob_source::FetchError;
use flipside_image::code::Coded;
use flipside_image::{Digest, Image, Manifest};
use flipside_source::{ArchiveSource, LayoutSource, Location, Source, SourceError, open};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::support::images::{ImageBuilder, OsImage};
use crate::support::registry::options;

/// An archive made by the `tar` crate, member by member.
struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn header(size: usize) -> tar::Header {
        let mut header = tar::Header::new_ustar();
        header.set_size(size as u64);
        header.set_mode(0o644);
        header
    }

    fn file(mut self, name: &str, bytes: &[u8]) -> Self {
        self.0.append_data(&mut Self::header(bytes.len()), name, bytes).unwrap();
        self
    }

    /// A member whose header was changed, and whatever follows it.
    fn odd(mut self, bytes: &[u8], change: impl Fn(&mut tar::Header)) -> Self {
        let mut header = Self::header(bytes.len());
        change(&mut header);
        header.set_cksum();
        self.0.append(&header, bytes).unwrap();
        self
    }

    /// The files of a layout under names that begin with `prefix`.
    fn layout(mut self, layout: &Path, prefix: &str) -> Self {
        let mut files: Vec<_> = fs::read_dir(layout.join("blobs/sha256"))
            .unwrap()
            .map(|entry| format!("blobs/sha256/{}", entry.unwrap().file_name().display()))
            .collect();
        files.extend(["oci-layout".to_owned(), "index.json".to_owned()]);
        for name in files {
            let bytes = fs::read(layout.join(&name)).unwrap();
            self = self.file(&format!("{prefix}{name}"), &bytes);
        }
        self
    }

    fn write(self, directory: &TempDir) -> PathBuf {
        let path = directory.path().join("image.tar");
        fs::write(&path, self.0.into_inner().unwrap()).unwrap();
        path
    }
}

fn code<T>(result: Result<T, impl Coded>) -> &'static str {
    result.err().expect("it was taken").code().name()
}

fn image_in(directory: &TempDir) -> OsImage {
    ImageBuilder::new("1").tag("stable").write(directory.path().join("layout"))
}

/// Everything that an updater reads.
fn read(source: &dyn Source) -> Result<(Image, Vec<Vec<u8>>), FetchError> {
    let image = read_image(source).map_err(FetchError::failed)?;
    let mut layers = Vec::new();
    for layer in image.layers() {
        let mut bytes = Vec::new();
        source.stream(layer.descriptor, 0..layer.descriptor.size, &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        layers.push(bytes);
    }
    Ok((image, layers))
}

fn read_image(source: &dyn Source) -> Result<Image, SourceError> {
    let digest = source.resolve()?;
    let manifest = source.manifest(&digest)?;
    let config = &Manifest::parse(&manifest)?.config;
    Ok(Image::assemble(digest, &manifest, &source.blob("config", config, 1 << 20)?)?)
}

#[test]
fn layout_and_archive_give_the_same_image() {
    let directory = tempfile::tempdir().unwrap();
    let image = image_in(&directory);
    let plain = Tar::new().layout(&image.layout, "").write(&directory);
    let (found, layers) = read(&ArchiveSource::open(&plain, None).unwrap()).unwrap();
    assert_eq!(found.digest, image.digest);
    for (layer, bytes) in found.layers().zip(&layers) {
        assert_eq!(Digest::of(bytes), layer.descriptor.digest);
    }
    // As `tar -cf image.tar .` writes it.
    let dotted = Tar::new().odd(b"", |h| {
        h.set_path("./").unwrap();
        h.set_entry_type(tar::EntryType::Directory);
    });
    let dotted = dotted.layout(&image.layout, "./").write(&directory);
    let layout = LayoutSource::open(&image.layout, Some("stable")).unwrap();
    let archive = ArchiveSource::open(&dotted, Some("stable")).unwrap();
    assert_eq!(read(&layout).unwrap().1, layers);
    assert_eq!(read(&archive).unwrap().1, layers);
    assert_eq!(layout.to_string(), format!("oci:{}:stable", image.layout.display()));
    assert_eq!(archive.repository(), format!("oci-archive:{}", dotted.display()));
}

#[test]
fn ranges_are_given_exactly() {
    let directory = tempfile::tempdir().unwrap();
    let image = image_in(&directory);
    let archive = Tar::new().layout(&image.layout, "").write(&directory);
    let stored = fs::read(image.layer_file("system")).unwrap();
    let blob = image.image.layer("system").unwrap().descriptor.clone();
    let sources: [Box<dyn Source>; 2] = [
        Box::new(LayoutSource::open(&image.layout, None).unwrap()),
        Box::new(ArchiveSource::open(&archive, None).unwrap()),
    ];
    for source in sources {
        for range in [0..0, 0..1, 5..17, 7..blob.size, blob.size..blob.size] {
            let mut bytes = Vec::new();
            let mut sink = |piece: &[u8]| {
                bytes.extend_from_slice(piece);
                Ok(())
            };
            source.stream(&blob, range.clone(), &mut sink).unwrap();
            assert_eq!(bytes, stored[range.start as usize..range.end as usize]);
        }
        let beyond = source.stream(&blob, 0..blob.size + 1, &mut |_| panic!());
        assert_eq!(code(beyond), "digest-mismatch");
        let stopped = source.stream(&blob, 0..9, &mut |_| Err(flipside_core::cancel::Stopped));
        assert_eq!(code(stopped), "stopped");
    }
}

#[test]
fn tags_choose_the_image() {
    let directory = tempfile::tempdir().unwrap();
    let layout = directory.path().join("layout");
    let one = ImageBuilder::new("1").tag("one").write(&layout);
    let open = |tag: Option<&str>| LayoutSource::open(&layout, tag).unwrap().resolve();
    assert_eq!(open(None).unwrap(), one.digest);
    let two = ImageBuilder::new("2").tag("two").write(&layout);
    assert_eq!(open(Some("one")).unwrap(), one.digest);
    assert_eq!(open(Some("two")).unwrap(), two.digest);
    assert_eq!(open(Some(&one.digest.to_string())).unwrap(), one.digest);
    assert_eq!(code(open(None)), "tag-ambiguous");
    let error = open(Some("three")).unwrap_err();
    assert_eq!(error.code().name(), "tag-not-found");
    assert!(error.to_string().contains("one, two"), "{error}");
    assert_eq!(code(open(Some(&Digest::of(b"").to_string()))), "blob-not-found");
    // The same image under two names is one image.
    let same = directory.path().join("same");
    ImageBuilder::new("1").tag("a").write(&same);
    ImageBuilder::new("1").tag("b").write(&same);
    assert_eq!(LayoutSource::open(&same, None).unwrap().resolve().unwrap(), one.digest);
}

/// As `podman save` and nerdctl write them.
#[test]
fn full_names_choose_the_image_and_their_tag_where_it_is_unambiguous() {
    let directory = TempDir::new().unwrap();
    let layout = directory.path().join("layout");
    let edge = "registry.example.com:5000/acme/edge:1.0";
    let other = "registry.example.com:5000/acme/other:1.0";
    // flipside's builder lists tags alone.
    let write = |version: &str, name: &str| {
        let digest = ImageBuilder::new(version).tag("new").write(&layout).digest;
        let index = fs::read_to_string(layout.join("index.json")).unwrap();
        fs::write(layout.join("index.json"), index.replace("\"new\"", &format!("{name:?}")))
            .unwrap();
        digest
    };
    let first = write("1", edge);
    let resolve = |name: &str| -> Result<Digest, SourceError> {
        let location: Location = format!("oci:{}:{name}", layout.display()).parse()?;
        open(&location, &options(directory.path()))?.resolve()
    };
    assert_eq!(resolve(edge).unwrap(), first);
    assert_eq!(resolve("1.0").unwrap(), first);
    let second = write("2", other);
    assert_eq!(resolve(other).unwrap(), second);
    let error = resolve("1.0").unwrap_err();
    assert_eq!(error.code().name(), "tag-ambiguous");
    assert!(error.to_string().contains(edge) && error.to_string().contains(other), "{error}");
    let third = write("3", "1.0");
    assert_eq!(resolve("1.0").unwrap(), third);
    assert_eq!(code(resolve("acme/edge:1.0")), "tag-not-found");
}

#[test]
fn a_tag_that_moves_is_seen_by_the_next_resolve() {
    let directory = tempfile::tempdir().unwrap();
    let one = image_in(&directory);
    let source = LayoutSource::open(&one.layout, Some("stable")).unwrap();
    assert_eq!(source.resolve().unwrap(), one.digest);
    let two = ImageBuilder::new("2").tag("stable").write(&one.layout);
    assert_eq!(source.resolve().unwrap(), two.digest);
}

#[test]
fn layouts_that_cannot_be_used_say_why() {
    let directory = tempfile::tempdir().unwrap();
    let image = image_in(&directory);
    let layout = &image.layout;
    let open = |path: &Path| {
        LayoutSource::open(path, None).map_err(FetchError::failed).and_then(|s| read(&s))
    };
    assert_eq!(code(open(Path::new("/nonexistent"))), "source-unreadable");
    assert_eq!(code(open(directory.path())), "layout-invalid");
    let put = |name: &str, text: &[u8]| fs::write(layout.join(name), text).unwrap();
    let index = fs::read(layout.join("index.json")).unwrap();
    for (name, bytes, expected) in [
        ("oci-layout", &b"{\"imageLayoutVersion\":\"2.0.0\"}"[..], "layout-invalid"),
        ("oci-layout", b"{}", "layout-invalid"),
        ("oci-layout", &[b' '; 5000], "layout-invalid"),
        ("index.json", b"", "image-malformed"),
        ("index.json", b"{\"manifests\":[]}", "layout-invalid"),
        ("index.json", &vec![b' '; (4 << 20) + 1], "image-over-limit"),
    ] {
        let good = fs::read(layout.join(name)).unwrap();
        put(name, bytes);
        assert_eq!(code(open(layout)), expected, "{name}");
        put(name, &good);
    }
    fs::remove_file(layout.join("index.json")).unwrap();
    assert_eq!(code(open(layout)), "layout-invalid");
    fs::create_dir(layout.join("index.json")).unwrap();
    assert_eq!(code(open(layout)), "source-unreadable");
    fs::remove_dir(layout.join("index.json")).unwrap();
    put("index.json", &index);
    assert!(open(layout).is_ok());
}

#[test]
fn damaged_blobs_are_never_taken() {
    let directory = tempfile::tempdir().unwrap();
    let image = image_in(&directory);
    let source = LayoutSource::open(&image.layout, None).unwrap();
    let config = image.image.manifest.config.clone();
    for (digest, missing) in [(image.digest, "manifest"), (config.digest, "config")] {
        let file = image.blob(&digest);
        let good = fs::read(&file).unwrap();
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 1;
        fs::write(&file, &flipped).unwrap();
        assert_eq!(code(read(&source)), "digest-mismatch", "{missing}");
        fs::remove_file(&file).unwrap();
        assert_eq!(code(read(&source)), "blob-not-found", "{missing}");
        fs::create_dir(&file).unwrap();
        assert_eq!(code(read(&source)), "source-unreadable", "{missing}");
        fs::remove_dir(&file).unwrap();
        fs::write(&file, &good).unwrap();
    }
    let longer = [&fs::read(image.layer_file("system")).unwrap()[..], b"x"].concat();
    fs::write(image.layer_file("system"), longer).unwrap();
    assert_eq!(code(read(&source)), "digest-mismatch");
    let mut large = config;
    large.size = 51 << 20;
    assert_eq!(code(source.blob("config", &large, 50 << 20)), "image-over-limit");
}

#[test]
fn a_fifo_in_the_place_of_a_blob_does_not_hang() {
    let directory = tempfile::tempdir().unwrap();
    let image = image_in(&directory);
    let file = image.blob(&image.digest);
    fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let source = LayoutSource::open(&image.layout, None).unwrap();
    assert_eq!(code(read(&source)), "source-unreadable");
}

#[test]
fn an_archive_stays_what_it_was_when_it_was_opened() {
    let directory = tempfile::tempdir().unwrap();
    let image = image_in(&directory);
    let path = Tar::new().layout(&image.layout, "").write(&directory);
    let source = ArchiveSource::open(&path, None).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "something else").unwrap();
    assert_eq!(read(&source).unwrap().0.digest, image.digest);
}

#[test]
fn long_names_and_large_sizes_of_other_writers_are_understood() {
    let directory = tempfile::tempdir().unwrap();
    let image = image_in(&directory);
    let index = fs::read(image.layout.join("index.json")).unwrap();
    fs::rename(image.layout.join("index.json"), directory.path().join("aside")).unwrap();
    fs::write(image.layout.join("index.json"), "").unwrap();
    let base = || {
        let mut tar = Tar::new();
        for entry in fs::read_dir(image.layout.join("blobs/sha256")).unwrap() {
            let entry = entry.unwrap();
            let name = format!("blobs/sha256/{}", entry.file_name().display());
            tar = tar.file(&name, &fs::read(entry.path()).unwrap());
        }
        tar.file("oci-layout", &fs::read(image.layout.join("oci-layout")).unwrap())
    };
    // A pax header with path and size; the header's own name and size are nonsense.
    let size = format!("size={}\n", index.len());
    let record = |text: &str| {
        let length = text.len() + 3;
        format!("{length} {text}")
    };
    let pax = record("path=./index.json\n") + &record(&size) + &record("mtime=1.5\n");
    let mut with_pax = base().odd(pax.as_bytes(), |h| {
        h.set_entry_type(tar::EntryType::XHeader);
    });
    let mut header = Tar::header(index.len());
    header.set_path("nonsense").unwrap();
    header.set_cksum();
    with_pax.0.append(&header, &index[..]).unwrap();
    // GNU's long name and base-256 size.
    let with_gnu = base()
        .odd(b"index.json\0", |h| h.set_entry_type(tar::EntryType::GNULongName))
        .odd(&index, |h| {
            h.set_path("nonsense").unwrap();
            let size = (index.len() as u64).to_be_bytes();
            let field = &mut h.as_old_mut().size;
            field.fill(0);
            field[0] = 0x80;
            field[4..].copy_from_slice(&size);
        });
    for tar in [with_pax, with_gnu] {
        let path = tar.write(&directory);
        assert_eq!(
            read(&ArchiveSource::open(&path, None).unwrap()).unwrap().0.digest,
            image.digest
        );
    }
}

#[test]
fn hostile_archives_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let image = image_in(&directory);
    let good = || Tar::new().layout(&image.layout, "");
    let kind = |byte: u8| move |h: &mut tar::Header| h.set_entry_type(tar::EntryType::new(byte));
    let blob = format!("blobs/sha256/{}", image.digest.hex());
    let cases = [
        ("two indexes", good().file("index.json", b"{}")),
        ("two blobs", good().file(&blob, b"{}")),
        ("two under other names", good().file(&format!("./{blob}"), b"{}")),
        ("GNU sparse", good().odd(b"1234", kind(b'S'))),
        ("pax sparse", good().odd(b"22 GNU.sparse.major=1\n", kind(b'x'))),
        ("global path", good().odd(b"10 path=a\n", kind(b'g'))),
        ("pax over the limit", good().odd(&vec![b' '; 70_000], kind(b'x'))),
        ("name over the limit", good().odd(&vec![b'a'; 70_000], kind(b'L'))),
        ("pax of no records", good().odd(b"99999999999999999999 a=b\n", kind(b'x'))),
        ("pax record too long", good().odd(b"11 path=a\n", kind(b'x'))),
        ("pax record of nothing", good().odd(b"0 path=a\n", kind(b'x'))),
        ("pax size no number", good().odd(b"11 size=-1\n", kind(b'x'))),
        ("link with bytes", good().odd(b"1", kind(b'1'))),
        ("multi-volume", good().odd(b"", kind(b'M'))),
        ("size no number", good().odd(b"", |h| h.as_old_mut().size.fill(b'9'))),
        ("size beyond the end", good().odd(b"", |h| h.set_size(1 << 30))),
        ("size beyond u64", good().odd(b"", |h| h.as_old_mut().size.fill(0xff))),
        (
            "size near 2^64",
            good().odd(b"", |h| {
                h.as_old_mut()
                    .size
                    .copy_from_slice(&[0x80, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 1]);
            }),
        ),
    ];
    for (name, tar) in cases {
        let path = tar.write(&directory);
        assert_eq!(code(ArchiveSource::open(&path, None)), "layout-invalid", "{name}");
    }
}

#[test]
fn links_and_path_tricks_are_never_taken_for_files() {
    let directory = tempfile::tempdir().unwrap();
    let image = image_in(&directory);
    let blob = format!("blobs/sha256/{}", image.digest.hex());
    fs::remove_file(image.layout.join(&blob)).unwrap();
    let good = || Tar::new().layout(&image.layout, "");
    let cases = [
        good().odd(b"", |h| {
            h.set_entry_type(tar::EntryType::Symlink);
            h.set_path(&blob).unwrap();
            h.set_link_name("/etc/passwd").unwrap();
        }),
        good().file(&format!("x/../{blob}").replace("../", ""), b"{}"),
        good().odd(b"{}", |h| h.as_old_mut().name[..12].copy_from_slice(b"../blobs/abc")),
        good().odd(b"{}", |h| h.as_old_mut().name[..4].copy_from_slice(b"\xff\xfe\xfd\0")),
    ];
    for tar in cases {
        let source = ArchiveSource::open(&tar.write(&directory), None).unwrap();
        assert_eq!(code(read(&source)), "blob-not-found");
    }
}

#[test]
fn what_is_no_archive_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    for (bytes, part) in [
        (&b"\x1f\x8b\x08rest"[..], "gzip"),
        (b"\x28\xb5\x2f\xfdrest", "zstd"),
        (b"", "oci-layout"),
        (b"short", "ends within"),
        (&[b'x'; 2000], "no tar header"),
        (&[0; 1024], "oci-layout"),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = ArchiveSource::open(&path, None).err().unwrap();
        assert_eq!(error.code().name(), "layout-invalid");
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(code(ArchiveSource::open(directory.path(), None)), "source-unreadable");
    assert_eq!(code(ArchiveSource::open(Path::new("/nonexistent"), None)), "source-unreadable");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Members lie within the file, whatever the headers say.
    #[test]
    fn no_damage_of_an_archive_makes_it_panic(
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        fix_checksum in any::<bool>(),
    ) {
        let tar = Tar::new().file("index.json", b"{}").file("a", &[7; 600]);
        let tar = tar.odd(b"10 path=b\n", |h| h.set_entry_type(tar::EntryType::XHeader));
        let mut bytes = tar.file("c", b"d").0.into_inner().unwrap();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if fix_checksum {
                let block = &mut bytes[at / 512 * 512..][..512];
                let mut header = tar::Header::new_old();
                header.as_mut_bytes().copy_from_slice(block);
                header.set_cksum();
                block.copy_from_slice(header.as_bytes());
            }
        }
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let mut all = Vec::new();
        let _ = flipside_source::tar::members(&file, bytes.len() as u64, &mut |member| {
            all.push(member);
            Ok(())
        });
        for member in all {
            prop_assert!(member.offset + member.size <= bytes.len() as u64);
        }
    }
}
