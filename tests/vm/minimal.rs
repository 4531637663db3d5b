// SPDX-License-Identifier: MIT OR Apache-2.0

//! The minimal system: a kernel and an initrd with flipside in it, up in ten seconds. For the
//! power cuts, of which there are many.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::Result;
use flipside_image::Digest;

use crate::debian::Debian;
use crate::lab::Lab;
use crate::os_image::OsImage;
use crate::programs;
use crate::random::Random;
use crate::uki::{self, Parts};
use crate::verity;

/// What the system payload has: enough that an update takes its time.
const SYSTEM_BYTES: usize = 4 << 20;
/// Taken from Debian with the libraries that they need.
const PROGRAMS: [&str; 5] = [
    "/usr/bin/flipside",
    "/usr/sbin/fsck.vfat",
    "/usr/sbin/e2fsck",
    "/usr/bin/strace",
    "/usr/sbin/dmsetup",
];
const MODULES: &str = "usr/lib/modules";

/// A version of it.
///
/// # Errors
/// Those of the programs that make it.
pub fn version(lab: &Lab, version: &str) -> Result<Arc<OsImage>> {
    let debian = lab.debian();
    debian.keep(lab, &format!("minimal-{version}"), version, |new| {
        fs::create_dir(new)?;
        let mut system = vec![0; SYSTEM_BYTES];
        Random::of(version).fill(&mut system);
        build(debian, new, version, &system)
    })
}

/// A version of it whose boot file was changed by `change`, and that is kept as `name`.
///
/// # Errors
/// Those of the programs that make it.
pub fn with_boot_file(
    lab: &Lab,
    version: &str,
    name: &str,
    change: impl FnOnce(&Path) -> Result<()>,
) -> Result<Arc<OsImage>> {
    let plain = self::version(lab, version)?;
    lab.debian().keep(lab, &format!("minimal-{version}-{name}"), version, |new| {
        fs::create_dir(new)?;
        for file in ["system.img", "os-release", "kernel.efi"] {
            fs::copy(plain.system.with_file_name(file), new.join(file))?;
        }
        change(&new.join("kernel.efi"))
    })
}

/// One whose slot holds a root file system that can be mounted in many ways: see `minimal/roots`.
/// Gives its dm-verity table as well, as of a device of its slot A.
///
/// # Errors
/// Those of the programs that make it.
pub fn with_root(lab: &Lab) -> Result<(Arc<OsImage>, String)> {
    let debian = lab.debian();
    let image = debian.keep(lab, "minimal-roots", "1.0", |new| {
        fs::create_dir(new)?;
        let root = new.join("root");
        fill_root(debian.tree(), &root)?;
        for directory in ["efi", "var", "tmp", "images"] {
            fs::create_dir_all(root.join(directory))?;
        }
        fs::write(root.join("usr/lib/os-release"), "ID=minimal\nVERSION_ID=1.0\n")?;
        let pack = |to: &Path| {
            let mut pack = Command::new("mkfs.erofs");
            programs::run(pack.args(["--quiet", "-zlz4", "-T0"]).arg(to).arg(&root))
        };
        // With itself in it, for a root on a loop device.
        let inside = new.join("inside.erofs");
        pack(&inside)?;
        fs::rename(inside, root.join("images/root.erofs"))?;
        let system = new.join("system.img");
        pack(&system)?;
        fs::remove_dir_all(root)?;
        let (system, table) = verity::protect(fs::read(system)?, "/dev/vda2");
        fs::write(new.join("verity"), table)?;
        build(debian, new, "1.0", &system)
    })?;
    let table = fs::read_to_string(image.system.with_file_name("verity"))?;
    Ok((image, table))
}

fn build(debian: &Debian, directory: &Path, version: &str, system: &[u8]) -> Result<()> {
    let os_release = directory.join("os-release");
    fs::write(&os_release, format!("ID=minimal\nNAME=\"Minimal\"\nVERSION_ID={version}\n"))?;
    fs::write(directory.join("system.img"), system)?;

    let root = directory.join("root");
    fill_root(debian.tree(), &root)?;
    fs::copy(&os_release, root.join("usr/lib/os-release"))?;
    let sum = format!("{} {}\n", Digest::of(system).hex(), system.len());
    fs::write(root.join("etc/system"), sum)?;
    let initrd = directory.join("initrd");
    let pack = "find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 | zstd -q -3 -o \"$0\"";
    programs::run(Command::new("sh").args(["-c", pack]).arg(&initrd).current_dir(&root))?;
    fs::remove_dir_all(&root)?;

    let parts = Parts {
        os_release: &os_release,
        command_line: "rdinit=/init console=ttyS0 quiet panic=5 no_timer_check",
        kernel: &debian.boot("vmlinuz")?,
        initrd: &initrd,
    };
    uki::build(&parts, &directory.join("kernel.efi"))
}

fn fill_root(tree: &Path, root: &Path) -> Result<()> {
    for directory in [
        "usr/bin",
        "usr/sbin",
        "usr/lib/vm",
        "usr/lib64",
        "etc/flipside",
        "proc",
        "sys",
        "dev",
        "run",
    ] {
        fs::create_dir_all(root.join(directory))?;
    }
    for (link, target) in
        [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")]
    {
        std::os::unix::fs::symlink(target, root.join(link))?;
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm");
    programs::run(Command::new("cp").arg(here.join("minimal/init")).arg(root.join("init")))?;
    let files = here.join("debian/files");
    for file in ["usr/lib/vm/agent", "etc/flipside/flipside.toml", "etc/machine-id"] {
        programs::run(Command::new("cp").arg("-a").arg(files.join(file)).arg(root.join(file)))?;
    }
    std::os::unix::fs::symlink("../usr/lib/os-release", root.join("etc/os-release"))?;
    copy(tree, root, "/usr/bin/busybox")?;
    for program in PROGRAMS {
        for file in with_libraries(tree, program)? {
            copy(tree, root, &file)?;
        }
    }
    fs::create_dir_all(root.join(MODULES))?;
    programs::copy_tree(&tree.join(MODULES), &root.join(MODULES))
}

/// A program and the libraries that its linker finds in `tree`.
fn with_libraries(tree: &Path, program: &str) -> Result<Vec<String>> {
    let found = programs::output(Command::new("chroot").arg(tree).args(["ldd", program]))?;
    let libraries = found.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(libraries.map(str::to_owned).chain([program.to_owned()]).collect())
}

/// Copies what `path` leads to.
fn copy(tree: &Path, root: &Path, path: &str) -> Result<()> {
    let to: PathBuf = root.join(path.trim_start_matches('/'));
    if let Some(directory) = to.parent() {
        fs::create_dir_all(directory)?;
    }
    // Links in the tree are relative, or lead astray here.
    let mut copy = Command::new("cp");
    programs::run(copy.arg("-L").arg(tree.join(path.trim_start_matches('/'))).arg(to))
}
