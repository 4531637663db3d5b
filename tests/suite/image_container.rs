// SPDX-License-Identifier: MIT OR Apache-2.0

//! `image build` of a container image or a root file system. What the layers of a container unpack to
//! is held against what umoci makes of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flipside_image::Digest;
use flipside_publish::container::find_container;
use flipside_publish::tree::directory::read_directory;
use flipside_publish::tree::layers::read_layers;
use flipside_publish::tree::{Content, Kind, Tree};
use flipside_source::LayoutSource;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use crate::support::documents;
use crate::support::program_host::refusal;

const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";
/// Any EFI program is a kernel to who builds a boot file.
const KERNEL: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";

/// An archive that is written as a list of what is in it.
struct Archive(Builder<Vec<u8>>);

impl Archive {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    fn add(mut self, kind: EntryType, name: &str, mode: u32, bytes: &[u8]) -> Self {
        let mut header = header(kind, mode, bytes.len() as u64);
        self.0.append_data(&mut header, name, bytes).unwrap();
        self
    }

    fn directory(self, name: &str, mode: u32) -> Self {
        self.add(EntryType::Directory, name, mode, b"")
    }

    fn file(self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.add(EntryType::Regular, name, 0o644, bytes.as_ref())
    }

    fn link(mut self, kind: EntryType, name: &str, target: &str) -> Self {
        let mut header = header(kind, 0o777, 0);
        self.0.append_link(&mut header, name, target).unwrap();
        self
    }

    /// With a name as it is, which no honest archive has.
    fn raw(mut self, kind: EntryType, name: &str, target: &str) -> Self {
        let mut header = header(kind, 0o644, 0);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        self.0.append(&header, &b""[..]).unwrap();
        self
    }

    /// What the next entry has besides its header.
    fn pax(mut self, pairs: &[(&str, &[u8])]) -> Self {
        self.0.append_pax_extensions(pairs.iter().copied()).unwrap();
        self
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(1_600_000_000);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    piped("gzip", &["-nc"], bytes)
}

fn piped(program: &str, arguments: &[&str], bytes: &[u8]) -> Vec<u8> {
    use std::process::Stdio;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(bytes).unwrap());
        child.wait_with_output().unwrap().stdout
    })
}

/// A layout with a container image of these layers, each with the end of its media type.
fn container(directory: &Path, layers: &[(&str, Vec<u8>)]) -> PathBuf {
    let layout = directory.join("container");
    fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    let put = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        fs::write(layout.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
        (digest, bytes.len())
    };
    let described = |kind: &str, bytes: &[u8]| {
        let (digest, size) = put(bytes);
        json!({"mediaType": kind, "digest": digest.to_string(), "size": size})
    };
    let plain = |(kind, bytes): &(&str, Vec<u8>)| match *kind {
        "+gzip" => piped("gzip", &["-dc"], bytes),
        "+zstd" => zstd::decode_all(&bytes[..]).unwrap_or_default(),
        _ => bytes.clone(),
    };
    let ids: Vec<String> =
        layers.iter().map(|layer| Digest::of(&plain(layer)).to_string()).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "created": "2026-01-02T03:04:05Z",
        "config": {"Labels": {"org.opencontainers.image.version": "7.1", "org.flipside.end-of-life": "2027-06-30"}},
        "rootfs": {"type": "layers", "diff_ids": ids},
    });
    let described_layers: Vec<Value> = layers
        .iter()
        .map(|(kind, bytes)| {
            described(&format!("application/vnd.oci.image.layer.v1.tar{kind}"), bytes)
        })
        .collect();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described(
            "application/vnd.oci.image.config.v1+json", config.to_string().as_bytes(),
        ),
        "layers": described_layers,
    });
    let mut entry =
        described("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    layout
}

fn tree(layout: &Path, scratch: &Path) -> Tree {
    let source = LayoutSource::open(layout, None).unwrap();
    let found = find_container(&source, None).unwrap();
    read_layers(&source, &found, scratch).unwrap()
}

fn build(directory: &Path, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
    command.args(["image", "build"]).args(line.split_whitespace());
    documents::output(command.current_dir(directory).env_remove("SOURCE_DATE_EPOCH"))
}

fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        println!("skipped: only root gives files to their owners");
    }
    is_root
}

/// Everything about each name but the file's number: what it is, and which names share it.
fn listing(tree: &Tree) -> BTreeMap<String, String> {
    let mut first = BTreeMap::new();
    tree.all()
        .map(|(name, number, inode)| {
            let name = String::from_utf8_lossy(name).into_owned();
            let kind = match &inode.kind {
                Kind::Directory => "directory".to_owned(),
                Kind::Fifo => "fifo".to_owned(),
                Kind::Link(target) => format!("-> {}", String::from_utf8_lossy(target)),
                Kind::File(content) => format!("file {}", Digest::of(&bytes(content)).short()),
            };
            let same = first.entry(number).or_insert_with(|| name.clone()).clone();
            let mode = if matches!(inode.kind, Kind::Link(_)) { 0 } else { inode.mode };
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            let xattrs = inode.xattrs.iter().map(|(name, value)| (text(name), value));
            let xattrs: Vec<(String, &Vec<u8>)> = xattrs.collect();
            let (uid, gid) = (inode.uid, inode.gid);
            (name, format!("{kind} {mode:o} {uid}:{gid} {xattrs:?} as {same}"))
        })
        .collect()
}

fn bytes(content: &Content) -> Vec<u8> {
    use std::os::unix::fs::FileExt as _;
    match content {
        Content::Bytes(bytes) => bytes.clone(),
        Content::Path(path) => fs::read(path).unwrap(),
        Content::Part { file, offset, length } => {
            let mut bytes = vec![0; usize::try_from(*length).unwrap()];
            file.read_exact_at(&mut bytes, *offset).unwrap();
            bytes
        }
    }
}

/// A system that can be built, but for what `without` names.
fn system(without: &str) -> Archive {
    let kernel = fs::read(KERNEL).unwrap();
    let stub = fs::read(STUB).unwrap();
    let files: [(&str, &[u8]); 8] = [
        ("etc/os-release", b"ID=edge\nNAME=Edge\nVERSION_ID=12\n"),
        ("usr/lib/os-release", b"ID=edge\nNAME=Edge\nVERSION_ID=12\n"),
        ("usr/lib/systemd/systemd", b"#!"),
        ("usr/lib/modules/6.1-x/vmlinuz", &kernel),
        ("usr/lib/modules/6.1-x/initramfs.img", b"an initrd"),
        ("usr/share/initramfs-tools/hooks/flipside", b"#!"),
        ("usr/lib/systemd/boot/efi/linuxx64.efi.stub", &stub),
        ("var/lib/app/state", b"state"),
    ];
    files
        .iter()
        .filter(|(name, _)| without.is_empty() || !name.contains(without))
        .fold(Archive::new(), |archive, (name, bytes)| archive.file(name, bytes))
}

#[test]
fn layers_unpack_to_what_umoci_unpacks() {
    if !is_root() {
        return;
    }
    let directory = TempDir::new().unwrap();
    let long = format!("usr/{}/{}", "n".repeat(200), "m".repeat(200));
    let mut first = Archive::new()
        .directory("usr/", 0o755)
        .directory("usr/bin/", 0o755)
        .add(EntryType::Regular, "usr/bin/sudo", 0o4755, b"sudo")
        .link(EntryType::Symlink, "bin", "usr/bin")
        .pax(&[("SCHILY.xattr.user.note", b"x"), ("SCHILY.xattr.security.capability", CAPABILITY)])
        .file("usr/bin/ping", b"ping")
        .link(EntryType::Link, "usr/bin/ping6", "usr/bin/ping")
        .file(&long, b"long")
        .add(EntryType::Fifo, "usr/fifo", 0o600, b"")
        .directory("hidden/", 0o755)
        .file("hidden/a", b"a")
        .file("hidden/b", b"b")
        .directory("opaque/", 0o755)
        .file("opaque/old", b"old")
        .directory("opaque/deep/", 0o755)
        .file("opaque/deep/old", b"old")
        .file("becomes-directory", b"x")
        .directory("becomes-file/", 0o755)
        .file("becomes-file/x", b"x");
    first = (0..3000).fold(first, |archive, n| archive.file(&format!("many/{n}"), n.to_string()));
    let second = Archive::new()
        .file("hidden/.wh.a", b"")
        .directory("opaque/", 0o711)
        .file("opaque/.wh..wh..opq", b"")
        .file("opaque/new", b"new")
        .directory("becomes-directory/", 0o700)
        .file("becomes-directory/y", b"y")
        .file("becomes-file", b"file")
        .link(EntryType::Link, "usr/bin/pong", "usr/bin/ping")
        .file("bin/through-a-link", b"x");
    let third = Archive::new()
        .directory("usr/bin/", 0o750)
        .file("opaque/new2", b"new")
        .file("many/.wh.7", b"");
    let layers = [
        ("+gzip", gzip(&first.bytes())),
        ("", second.bytes()),
        // umoci 0.4 reads no zstd.
        ("+gzip", gzip(&third.bytes())),
    ];
    let layout = container(directory.path(), &layers);
    let ours = listing(&tree(&layout, directory.path()));
    let bundle = directory.path().join("bundle");
    let image = format!("{}:latest", layout.display());
    let mut umoci = Command::new("umoci");
    umoci.args(["unpack", "--image", &image]).arg(&bundle);
    let unpacked = umoci.output().unwrap();
    assert!(unpacked.status.success(), "{unpacked:?}");
    let theirs = listing(&read_directory(&bundle.join("rootfs")).unwrap());
    for (name, what) in &theirs {
        assert_eq!(ours.get(name), Some(what), "{name}");
    }
    assert_eq!(ours.len(), theirs.len());
    assert!(ours["usr/bin/ping"].contains("security.capability"), "{}", ours["usr/bin/ping"]);
    assert!(ours["usr/bin/sudo"].contains(" 4755 "));
}

/// `cap_net_raw=ep`, as the kernel keeps it (`VFS_CAP_REVISION_2`, linux/capability.h).
const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn an_archive_that_no_image_can_be_made_of_is_refused() {
    let plain = |archive: Archive| ("", archive.bytes());
    let whole = gzip(&system("").bytes());
    let cut = |length: usize| whole[..length].to_vec();
    let sparse: &[(&str, &[u8])] = &[("GNU.sparse.major", b"1")];
    for (layer, part) in [
        (plain(system("").raw(EntryType::Regular, "../../etc/passwd", "")), "`..`"),
        (plain(system("").raw(EntryType::Regular, "usr/../../x", "")), "`..`"),
        (plain(system("").raw(EntryType::Link, "x", "../../etc/passwd")), "`..`"),
        (plain(system("").raw(EntryType::Link, "x", "usr/no")), "is no file"),
        (plain(system("").raw(EntryType::Char, "usr/null", "")), "is a device"),
        (plain(system("").raw(EntryType::Regular, "usr/lib/os-release/x", "")), "no directory"),
        (plain(system("").raw(EntryType::new(b'Z'), "x", "")), "of the kind 'Z'"),
        (plain(system("").pax(sparse).file("x", b"x")), "without its holes"),
        (("+gzip", cut(whole.len() / 2)), "cannot be unpacked"),
        (("", cut(whole.len() / 2)), "damaged"),
        (("+zstd", whole.clone()), "cannot be unpacked"),
        (("+bzip2", whole.clone()), "of the type"),
        (plain(system("systemd/systemd")), "no systemd"),
        (plain(system("os-release")), "os-release"),
        (plain(system("vmlinuz")), "Containerfile"),
        (plain(system("initramfs.img")), "no initrd"),
        (plain(system("hooks/flipside")), "flipside-initramfs-tools"),
        (plain(system("efi.stub")), "--stub"),
        (plain(system("").file("boot/vmlinuz-6.2", b"x")), "6.1-x, 6.2"),
        (plain(Archive::new().file("etc/os-release", b"ID=x")), "no /usr"),
    ] {
        let directory = TempDir::new().unwrap();
        container(directory.path(), &[layer]);
        let output = build(directory.path(), "--container oci:container --output out");
        let message = refusal(&output, 1, "tree-unusable");
        assert!(message.contains(part), "{part}: {message}");
        assert!(!directory.path().join("out").exists(), "{part}");
    }
}

#[test]
fn a_layer_with_other_bytes_than_its_digest_is_refused() {
    let directory = TempDir::new().unwrap();
    let archive = system("").bytes();
    let layout = container(directory.path(), &[("", archive.clone())]);
    let blob = layout.join("blobs/sha256").join(Digest::of(&archive).hex());
    let mut changed = archive;
    *changed.last_mut().unwrap() ^= 1;
    fs::write(blob, changed).unwrap();
    let output = build(directory.path(), "--container oci:container --output out");
    let message = refusal(&output, 1, "tree-unusable");
    assert!(message.contains("other bytes than its digest"), "{message}");
}

#[test]
fn names_through_links_stay_in_the_tree() {
    let directory = TempDir::new().unwrap();
    let outside = directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let first = Archive::new().link(EntryType::Symlink, "out", outside.to_str().unwrap()).link(
        EntryType::Symlink,
        "up",
        "../../../../../../tmp",
    );
    let second = Archive::new().file("tmp/x", b"x").file("up/y", b"y");
    let layout = container(directory.path(), &[("", first.bytes()), ("", second.bytes())]);
    let listed = listing(&tree(&layout, directory.path()));
    assert!(listed.contains_key("tmp/x") && listed.contains_key("tmp/y"), "{listed:?}");
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
}

#[test]
fn a_container_becomes_the_same_image_each_time() {
    if !is_root() {
        return;
    }
    let layers = || {
        let second = Archive::new()
            .file(".dockerenv", b"")
            .file("usr/bin/tool", b"tool")
            .file("var/cache/apt/x", b"x")
            .file("etc/resolv.conf", b"nameserver 10.0.0.1\n");
        let second = zstd::encode_all(&second.bytes()[..], 3).unwrap();
        [("+gzip", gzip(&system("").bytes())), ("+zstd", second)]
    };
    let mut digests = Vec::new();
    for turn in ["one", "two"] {
        let directory = TempDir::with_prefix(turn).unwrap();
        container(directory.path(), &layers());
        let output = build(directory.path(), "--container oci:container --output out --json");
        assert!(output.status.success(), "{output:?}");
        let told = String::from_utf8_lossy(&output.stderr);
        for line in
            ["removed /.dockerenv", "removed /var/cache", "made /etc/fstab", "moved the files"]
        {
            assert!(told.contains(line), "{line}: {told}");
        }
        let inspection: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(inspection["product_info"]["version"], "7.1");
        let annotations = &inspection["annotations"];
        assert_eq!(annotations["org.flipside.end-of-life"], "2027-06-30");
        assert_eq!(annotations["org.opencontainers.image.created"], "2026-01-02T03:04:05Z");
        assert!(annotations["org.opencontainers.image.base.digest"].is_string(), "{inspection}");
        digests.push(inspection["digest"].clone());
        check_payloads(directory.path());
    }
    assert_eq!(digests[0], digests[1]);
}

/// Reads the payloads as others do.
fn check_payloads(directory: &Path) {
    let run = |line: &str| {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().unwrap());
        let output = command.args(words).current_dir(directory).output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let flipside = env!("CARGO_BIN_EXE_flipside");
    run(&format!("{flipside} --quiet image extract out system --output system.img"));
    run(&format!("{flipside} --quiet image extract out kernel.efi --output kernel.efi"));
    run("fsck.erofs --extract=root system.img");
    let root = directory.join("root");
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    assert_eq!(read("usr/bin/tool"), "tool");
    assert_eq!(read("usr/share/factory/var/lib/app/state"), "state");
    assert!(read("usr/lib/tmpfiles.d/00-flipside-var.conf").contains("C \"/var/lib/app/state\""));
    assert!(read("etc/fstab").contains("/dev/flipside/system"));
    assert_eq!(read("etc/machine-id"), "uninitialized\n");
    assert_eq!(fs::read_dir(root.join("var")).unwrap().count(), 0);
    assert!(!root.join(".dockerenv").exists() && !root.join("etc/resolv.conf").exists());
    let sections = run("objdump -h kernel.efi");
    let place = |name: &str| sections.find(name).unwrap_or_else(|| panic!("{name}: {sections}"));
    assert!(place(".sbat") < place(".osrel") && place(".initrd") < place(".linux"), "{sections}");
    let sections: [(&str, &[u8]); 3] = [
        (".initrd", b"an initrd"),
        (".cmdline", b"root=/dev/flipside/system ro quiet panic=5\0"),
        (".uname", b"6.1-x"),
    ];
    for (name, expected) in sections {
        run(&format!("objcopy -O binary --only-section={name} kernel.efi section"));
        assert_eq!(fs::read(directory.join("section")).unwrap(), expected, "{name}");
    }
}

#[test]
fn who_has_no_right_to_give_files_away_is_told_what_to_do() {
    if !is_root() {
        return;
    }
    let directory = TempDir::new().unwrap();
    container(directory.path(), &[("", system("").bytes())]);
    let mut all = vec![directory.path().to_owned()];
    all.extend(walk(directory.path()));
    for path in all {
        std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", env!("CARGO_BIN_EXE_flipside")])
        .args(["image", "build", "--container", "oci:container", "--output", "out"])
        .current_dir(directory.path());
    let message = refusal(&documents::output(&mut command), 1, "tree-unusable");
    assert!(message.contains("podman unshare"), "{message}");
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        }
        found.push(path);
    }
    found
}
