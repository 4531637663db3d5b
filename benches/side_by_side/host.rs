// SPDX-License-Identifier: MIT OR Apache-2.0

//! The program itself, on a host in a directory: the run that finds nothing new, with and
//! without TLS, and disks built from shared payloads.

use std::path::{Path, PathBuf};

use crate::bed::MIB;
use crate::certificates::Authority;
use crate::measure::{Command, median, peak_memory, runs};
use crate::registry::Registry;

const FLIPSIDE: &str = env!("CARGO_BIN_EXE_flipside");

fn flipside(arguments: &[&str]) -> Command {
    Command::new(FLIPSIDE, arguments.iter().map(ToString::to_string))
}

/// An image with `system` of so many bytes, in a layout.
fn image(directory: &Path, name: &str, system: &Path, more: &[&str]) -> PathBuf {
    let file = |name: &str| directory.join(name).display().to_string();
    let stub = ["x64", "aa64"]
        .map(|machine| format!("/usr/lib/systemd/boot/efi/linux{machine}.efi.stub"))
        .into_iter()
        .find(|path| Path::new(path).exists())
        .expect("systemd-boot-efi has to be installed");
    std::fs::write(file("os-release"), "ID=bench\nNAME=Bench\nVERSION_ID=1\n").unwrap();
    let layout = directory.join(name);
    let _ = std::fs::remove_dir_all(&layout);
    let (system, kernel) = (format!("system={}", system.display()), format!("kernel.efi={stub}"));
    let (release, output) = (file("os-release"), layout.display().to_string());
    let mut arguments = vec!["-q", "image", "build", "--payload", &system, "--payload", &kernel];
    arguments.extend(["--os-release", &release, "--output", &output]);
    arguments.extend(more);
    flipside(&arguments).output();
    layout
}

/// A host that runs what the tag names, promoted; `settings` belong to `[track]`.
fn host(directory: &Path, layout: &Path, track: &str, settings: &str) -> String {
    let host = directory.join("host");
    let _ = std::fs::remove_dir_all(&host);
    let (path, image) = (host.display().to_string(), format!("oci:{}", layout.display()));
    flipside(&["-q", "sim", "new", &path, "--image", &image, "--track", track]).output();
    let config = host.join("etc/flipside/flipside.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(config, format!("{text}{settings}")).unwrap();
    flipside(&["-q", "sim", "boot", &path]).output();
    path
}

/// `update` when nothing is new: requests, writes, memory, CPU.
pub fn idle(directory: &Path) {
    let system = directory.join("idle.img");
    std::fs::write(&system, vec![7; MIB as usize]).unwrap();
    let layout = image(directory, "idle", &system, &[]);

    let registry = Registry::start();
    registry.push(&layout, "idle:1");
    let plain = host(directory, &layout, &format!("{}/idle:1", registry.address()), "");
    let update = ["-q", "--progress", "none", "update", "--root", &plain];
    let (requests, writes) = traced(&update, &plain);
    // The tag, and the policy document beside it.
    println!("{:<58} {requests:>9} {:>17}   2", "nothing new: requests", "");
    println!("{:<58} {writes:>9} {:>17}   0", "nothing new: files written outside /run", "");
    let peak = median((0..runs()).map(|_| peak_memory(&flipside(&update))));
    println!("{:<58} {peak:>9.1} {:>17}   15 MiB", "nothing new: peak memory, MiB", "");
    let cpu = milliseconds(&update);
    println!("{:<58} {cpu:>9.1} {:>17}   20 ms", "nothing new: CPU without TLS, ms", "");

    let authority = Authority::new();
    let certificate = authority.certificate("127.0.0.1", 2020, 2040);
    let tls = registry.behind_tls(&certificate.chain, &certificate.key);
    let track = format!("{}/idle:1", tls.address());
    let secure = host(directory, &layout, &track, "ca = [\"/etc/ca.pem\"]\n");
    std::fs::write(Path::new(&secure).join("etc/ca.pem"), authority.pem()).unwrap();
    let update = ["-q", "--progress", "none", "update", "--root", &secure];
    let cpu = milliseconds(&update);
    println!("{:<58} {cpu:>9.1} {:>17}   (told)", "nothing new: CPU with TLS, ms", "");
    let peak = median((0..runs()).map(|_| peak_memory(&flipside(&update))));
    println!("{:<58} {peak:>9.1} {:>17}   (told)", "nothing new: peak memory with TLS, MiB", "");
}

/// User and system time of one run, in milliseconds, the median of some.
fn milliseconds(arguments: &[&str]) -> f64 {
    let line = arguments.join(" ");
    let timed = Command::shell(format!(
        "TIMEFORMAT='%U %S'; {{ time {FLIPSIDE} {line} >/dev/null; }} 2>&1"
    ));
    median((0..runs().max(5)).map(|_| {
        let text = timed.output();
        text.split_whitespace().map(|part| part.parse::<f64>().unwrap() * 1000.0).sum()
    }))
}

/// Requests sent, and files of the host opened for writing or changed outside its `/run`.
fn traced(arguments: &[&str], host: &str) -> (usize, usize) {
    let trace = format!("{host}.strace");
    let line = arguments.join(" ");
    Command::shell(format!(
        "strace -f -s 64 -y -o {trace} -e trace=network,write,writev,%file,ftruncate,pwrite64 \
         {FLIPSIDE} {line}"
    ))
    .output();
    let text = std::fs::read_to_string(&trace).unwrap();
    let requests =
        text.lines().filter(|l| ["HEAD /", "GET /"].iter().any(|r| l.contains(r))).count();
    let changes = |line: &&str| {
        let is_change = ["O_WRONLY", "O_RDWR", "O_CREAT", "unlink", "rename", "mkdir", "pwrite64("]
            .iter()
            .any(|word| line.contains(word));
        is_change
            && line.contains(host)
            && !line.contains(&format!("{host}/run/"))
            && !line.contains("= -1 ")
    };
    let changed: Vec<_> = text.lines().filter(changes).collect();
    for line in &changed {
        println!("  {line}");
    }
    (requests, changed.len())
}

/// Disks from uncompressed images on a file system with reflinks: XFS, loop-mounted.
pub fn disks(directory: &Path) {
    let name = "disk build, shared payload: 2 GiB less 1 MiB payload, ms";
    if !nix::unistd::geteuid().is_root() {
        println!("{name:<58} skipped: only root can mount");
        return;
    }
    let (image_file, point) = (directory.join("xfs.img"), directory.join("xfs"));
    let (file, mounted) = (image_file.display(), point.display());
    std::fs::create_dir_all(&point).unwrap();
    Command::shell(format!(
        "export PATH=$PATH:/usr/sbin:/sbin; umount {mounted} 2>/dev/null; rm -f {file}; \
         truncate -s 8G {file} && mkfs.xfs -q -m reflink=1 {file} && mount -o loop {file} {mounted}"
    ))
    .output();
    let times = [1, 2048].map(|mib| {
        let system = point.join("system.img");
        let file = std::fs::File::create(&system).unwrap();
        let block = vec![0x5a; MIB as usize];
        (0..mib).for_each(|_| std::io::Write::write_all(&mut &file, &block).unwrap());
        file.sync_all().unwrap();
        let layout = image(&point, "image", &system, &["--uncompressed"]);
        let reference = format!("oci:{}", layout.display());
        let disk = point.join("disk.img").display().to_string();
        median((0..runs()).map(|_| {
            let _ = std::fs::remove_file(&disk);
            let build =
                flipside(&["-q", "disk", "build", "--image", &reference, "--output", &disk]);
            build.seconds() * 1000.0
        }))
    });
    println!("{name:<58} {:>9.1} {:>9.1} {:>7.1}   30 ms", times[1], times[0], times[1] - times[0]);
    Command::shell(format!("umount {mounted}; rm -f {file}")).output();
}
