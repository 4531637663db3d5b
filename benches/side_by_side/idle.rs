// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs that have nothing to write: nothing is new, or only the metadata.

use std::path::Path;

use crate::bed::{Bed, Image, MIB};
use crate::certificates::Authority;
use crate::host::Host;
use crate::measure::{Command, Usage, median, runs};
use crate::medium::Medium;
use crate::table::alone;

pub fn figures(bed: &Bed) {
    let system = bed.directory.join("idle.img");
    std::fs::write(&system, vec![7; MIB as usize]).unwrap();
    let image = bed.publish("idle", "1", &system, &[]);
    let host = Host::new(bed, "idle", &image, &[], Medium::File);
    nothing_new(bed, &host, &image);
    metadata_only(bed, &host, &system);
}

fn nothing_new(bed: &Bed, host: &Host, image: &Image) {
    host.follow(&bed.reference(image), "");
    host.update().output();
    let trace = Trace::of(host);
    // The tag, and the policy document beside it.
    alone("nothing new: requests", &trace.requests().to_string(), "2");
    let changed = trace.changed_files();
    changed.iter().for_each(|line| println!("  {line}"));
    alone("nothing new: files written outside /run", &changed.len().to_string(), "0");
    let usages = several(host);
    alone("nothing new: CPU without TLS", &milliseconds(&usages), "5 ms");
    alone("nothing new: peak memory", &mebibytes(&usages), "15 MiB");

    let authority = Authority::new();
    let certificate = authority.certificate("127.0.0.1", 2020, 2040);
    let tls = bed.registry.behind_tls(&certificate.chain, &certificate.key);
    std::fs::write(host.file("etc/ca.pem"), authority.pem()).unwrap();
    let reference = bed.reference(image).replace(bed.registry.address(), tls.address());
    host.follow(&reference, "ca = [\"/etc/ca.pem\"]");
    host.update().output();
    let usages = several(host);
    alone("nothing new: CPU with TLS", &milliseconds(&usages), "");
    alone("nothing new: peak memory with TLS", &mebibytes(&usages), "");
}

/// The same content under another manifest.
fn metadata_only(bed: &Bed, host: &Host, system: &Path) {
    let more = ["--annotation", "org.example.note=another"];
    let image = bed.publish("idle-again", "1", system, &more);
    host.follow(&bed.over_the_line(&image), "").reset();
    let before = bed.link.bytes();
    host.update().output();
    let fetched = bed.link.bytes() - before;
    alone("metadata-only release: fetched in all, bytes", &fetched.to_string(), "");
    host.reset();
    let trace = Trace::of(host);
    let blobs = trace.blobs();
    // Its config.
    alone("metadata-only release: blobs fetched besides the config", &(blobs - 1).to_string(), "0");
    alone("metadata-only release: writes to the disk", &trace.disk_writes().to_string(), "0");
    let variables = std::fs::read_dir(host.file("sys/firmware/efi/efivars")).unwrap();
    let mut names = variables.map(|entry| entry.unwrap().file_name());
    let armed = names.any(|name| name.to_string_lossy().starts_with("BootNext-"));
    alone("metadata-only release: reboot", if armed { "yes" } else { "no" }, "no");
}

fn several(host: &Host) -> Vec<Usage> {
    (0..runs().max(5)).map(|_| host.update().measure()).collect()
}

fn milliseconds(usages: &[Usage]) -> String {
    format!("{:.1} ms", 1000.0 * median(usages.iter().map(|usage| usage.cpu)))
}

fn mebibytes(usages: &[Usage]) -> String {
    format!("{:.1} MiB", median(usages.iter().map(|usage| usage.peak)))
}

/// Words of system calls that change files.
const CHANGES: [&str; 7] =
    ["O_WRONLY", "O_RDWR", "O_CREAT", "unlink", "rename", "mkdir", "pwrite64("];

/// What the program asked of the kernel in one run.
struct Trace {
    text: String,
    host: String,
}

impl Trace {
    fn of(host: &Host) -> Self {
        let (file, root) = (host.file("trace"), host.root());
        let script = format!(
            "strace -f -s 64 -y -o {} \
             -e trace=network,write,writev,%file,ftruncate,pwrite64,pwritev {} \
             -q --progress none update --root {root}",
            file.display(),
            env!("CARGO_BIN_EXE_flipside"),
        );
        Command::shell(&script).output();
        Self { text: std::fs::read_to_string(file).unwrap(), host: root }
    }

    fn lines<'a>(&'a self, words: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
        self.text.lines().filter(move |line| words.iter().any(|word| line.contains(word)))
    }

    fn requests(&self) -> usize {
        self.lines(&["HEAD /", "GET /"]).count()
    }

    fn blobs(&self) -> usize {
        self.lines(&["GET /"]).filter(|line| line.contains("/blobs/")).count()
    }

    /// Files of the host that were opened for writing or changed outside its `/run`.
    fn changed_files(&self) -> Vec<&str> {
        let run = format!("{}/run/", self.host);
        let is_outside = |line: &&str| {
            line.contains(&self.host) && !line.contains(&run) && !line.contains("= -1 ")
        };
        self.lines(&CHANGES).filter(is_outside).collect::<Vec<_>>()
    }

    fn disk_writes(&self) -> usize {
        self.lines(&["pwrite64(", "pwritev("]).filter(|line| line.contains("disk.img")).count()
    }
}
