// SPDX-License-Identifier: MIT OR Apache-2.0

use std::path::Path;

use flipside_image::code::Coded as _;

use super::*;
use crate::host::test_host::Host;
use crate::settings::SlotLabels;

fn host(mountinfo: &str) -> Host {
    let host = Host::new();
    host.mount(mountinfo);
    host
}

#[test]
fn p8_a_state_directory_inside_a_slot_is_refused() {
    let root = "25 1 254:2 / / ro - ext4 /dev/vda2 rw\n";
    for (name, mountinfo, expected) in [
        ("on the root", root.to_owned(), Some("system-a")),
        ("on the data partition", format!("{root}26 25 254:4 / /var rw - ext4 /dev/vda4 rw\n"), None),
        ("on the other slot", format!("{root}26 25 254:3 / /var rw - ext4 /dev/vda3 rw\n"), Some("system-b")),
        (
            "written to the data partition, through an overlay",
            "25 1 0:40 / / rw - overlay overlay rw,lowerdir=/sysroot,upperdir=/data/up\n\
             26 25 254:3 / /sysroot ro - erofs /dev/vda3 ro\n27 25 254:4 / /data rw - ext4 /dev/vda4 rw\n"
                .to_owned(),
            None,
        ),
        ("in memory", format!("{root}26 25 0:30 / /var rw - tmpfs tmpfs rw\n"), None),
    ] {
        let host = host(&mountinfo);
        let check = |directory: &str| {
            let config = HostConfig::default();
            state_directory_is_outside_slots(&host.root(), &host.disk(), &config, Path::new(directory))
        };
        match (check("/var/lib/flipside"), expected) {
            (Ok(()), None) => {}
            (Err(error), Some(label)) => {
                assert_eq!(error.code().name(), "state-inside-slot");
                assert!(error.to_string().contains(label), "{name}: {error}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn p8_a_symbolic_link_does_not_hide_a_slot() {
    let host = host(
        "25 1 254:4 / / rw - ext4 /dev/vda4 rw\n26 25 254:3 / /mnt/b rw - ext4 /dev/vda3 rw\n",
    );
    std::fs::create_dir_all(host.path("var/lib")).unwrap();
    std::fs::create_dir_all(host.path("mnt/b/state")).unwrap();
    std::os::unix::fs::symlink("../../mnt/b/state", host.path("var/lib/flipside")).unwrap();
    let directory = Path::new("/var/lib/flipside");
    let config = HostConfig {
        payloads: [("x".into(), SlotLabels { a: "data".into(), b: "esp".into() })].into(),
        ..HostConfig::default()
    };
    let check = |config: &HostConfig| {
        state_directory_is_outside_slots(&host.root(), &host.disk(), config, directory)
    };
    assert!(check(&HostConfig::default()).unwrap_err().to_string().contains("system-b"));
    assert!(check(&config).is_err());
}
