// SPDX-License-Identifier: MIT OR Apache-2.0

//! One install in a process of its own, so that time and memory are all of it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use flipside::report::progress::{Event, Progress};
use flipside_core::cancel::Cancel;
use flipside_core::host::Root;
use flipside_core::install::{Options, write_payload};
use flipside_image::Architecture;
use flipside_source::{fetch_image, open};

use crate::medium::FileMedium;

/// The first argument that makes this program install an image.
pub const INSTALL: &str = "--install";

/// The first argument that makes this program build an image.
pub const BUILD: &str = "--build";

/// `PAYLOAD LAYOUT`.
pub fn build(arguments: &[String]) {
    crate::image::build_image(Path::new(&arguments[0]), Path::new(&arguments[1]));
}

/// Ends the process, as a kill does, once so many bytes of the layer were fetched.
struct Killer {
    at: u64,
    fetched: AtomicU64,
}

impl Progress for Killer {
    fn event(&self, event: Event) {
        if let Event::Fetched(bytes) = event
            && self.fetched.fetch_add(bytes, Ordering::SeqCst) + bytes >= self.at
        {
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
        }
    }
}

/// `IMAGE SLOT [--read-back] [--killed-at BYTES]`: prints how many bytes were fetched.
pub fn install(arguments: &[String]) {
    let after = |name: &str| arguments.iter().skip_while(|a| *a != name).nth(1);
    let at = after("--killed-at").map_or(u64::MAX, |bytes| bytes.parse().unwrap());
    let killer = Killer { at, fetched: AtomicU64::new(0) };
    let stop = Cancel::new();
    let source = open(
        &arguments[0].parse().unwrap(),
        &flipside_source::Options::new(Root::new("/"), stop.clone()),
    )
    .unwrap();
    let digest = source.resolve().unwrap();
    let image = fetch_image(&*source, &digest, Architecture::X86_64).unwrap();
    let medium = FileMedium::open(Path::new(&arguments[1])).unwrap();
    let read_back = arguments.iter().any(|argument| argument == "--read-back");
    let options = Options { read_back, ..Options::default() };
    let layer = image.layer("system").unwrap();
    let written = write_payload(&*source, &layer, &medium, &options, &killer, &stop).unwrap();
    println!("{}", written.fetched);
}
