// SPDX-License-Identifier: MIT OR Apache-2.0

//! Disks from uncompressed images on a file system with reflinks: XFS, loop-mounted.

use std::fs::File;
use std::io::Write as _;

use crate::bed::{Bed, MIB, build};
use crate::measure::{Command, median, runs};
use crate::table;

pub fn figures(bed: &Bed) {
    let name = "disk build, shared payload: 2 GiB, 1 MiB, difference";
    if !nix::unistd::geteuid().is_root() {
        return table::skipped(name, "only root can mount");
    }
    let (image_file, point) = (bed.directory.join("xfs.img"), bed.directory.join("xfs"));
    let (file, mounted) = (image_file.display(), point.display());
    std::fs::create_dir_all(&point).unwrap();
    Command::shell(&format!(
        "umount {mounted} 2>/dev/null; rm -f {file}
         truncate -s 8G {file} && mkfs.xfs -q -m reflink=1 {file} && mount -o loop {file} {mounted}"
    ))
    .output();
    let times = [2048, 1].map(|mib| {
        let system = point.join("system.img");
        let mut file = File::create(&system).unwrap();
        let block = vec![0x5a; MIB as usize];
        (0..mib).for_each(|_| file.write_all(&block).unwrap());
        file.sync_all().unwrap();
        let layout = point.join("image");
        build(&layout, "1", &system, &["--uncompressed"]).output();
        let reference = format!("oci:{}", layout.display());
        let disk = point.join("disk.img").display().to_string();
        let build = ["disk", "build", "--image", &reference, "--output", &disk];
        median((0..runs()).map(|_| {
            let _ = std::fs::remove_file(&disk);
            Command::flipside(&build).measure().wall * 1000.0
        }))
    });
    let text = |value: f64| format!("{value:.1} ms");
    let difference = format!("{:.1}", times[0] - times[1]);
    table::row(name, &text(times[0]), &text(times[1]), &difference, "5 ms");
    Command::shell(&format!("umount {mounted}; rm -f {file}")).output();
}
