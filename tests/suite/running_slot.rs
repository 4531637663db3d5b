// SPDX-License-Identifier: MIT OR Apache-2.0

//! A running slot that may not boot again: told before any hook runs, by `check` and by `status`.

use std::os::unix::fs::{FileExt as _, PermissionsExt as _};

use flipside::config::Initiative;
use flipside::report::{PageStyle, status_text};
use flipside::rules::Depth;
use flipside::run::{self, Action};

use crate::support::host::TestHost;
use crate::support::images::ImageBuilder;

fn version(version: &str) -> ImageBuilder {
    ImageBuilder::new(version).chunk_size(16 << 10).system_size(64 << 10)
}

type Damage = fn(&std::path::Path);

#[test]
fn a_damaged_running_slot_is_told_before_any_hook_runs() {
    let cases: [(&str, Damage); 4] = [
        ("no program", |file| write(file, 0, &[0; 512])),
        ("missing", |file| std::fs::remove_file(file).unwrap()),
        ("another byte", |file| write(file, 2000, b"x")),
        ("cut short", |file| {
            let file = std::fs::File::options().write(true).open(file).unwrap();
            file.set_len(1500).unwrap();
        }),
    ];
    for (name, damage) in cases {
        let host = TestHost::running(&version("1"));
        host.publish(&version("2"));
        host.arm();
        assert_eq!(host.boot(), "B 2 promoted");
        assert_eq!(host.status().running.problem, None);
        let marker = host.file("asked");
        let hook = host.file("etc/flipside/hooks/pre-upgrade.d/10-asked");
        std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
        std::fs::write(&hook, format!("#!/bin/sh\ntouch {}\n", marker.display())).unwrap();
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
        damage(&host.file("efi/EFI/flipside/boot-b.efi"));

        // Whether there is an update or not.
        let problem = host.status().running.problem.expect(name);
        assert_eq!(problem.code, "running-slot-damaged", "{name}");
        let text = status_text(&host.status(), PageStyle::default());
        assert!(text.contains("damaged: slot B runs, and may not boot again"), "{text}");
        host.publish(&version("3"));
        let check = || {
            let check = run::check(&host.run(), Initiative::Manual, Depth::Explain);
            check.unwrap().unwrap().action
        };
        match check() {
            Action::Refuse(refusal) => {
                assert_eq!(refusal.code.name(), "running-slot-damaged", "{name}")
            }
            action => panic!("{name}: {action:?}"),
        }
        assert_eq!(host.refusal(), "running-slot-damaged", "{name}");
        assert_eq!(host.status().blocked.unwrap().code, "running-slot-damaged", "{name}");
        assert!(!marker.exists(), "{name}: a hook was asked");
        // The way out that docs/errors.md names.
        run::rollback(&host.run(), false).unwrap();
        assert_eq!(host.boot(), "A 1 promoted", "{name}");
        assert_eq!(host.status().running.problem, None, "{name}");
        assert_eq!(host.arm(), "B 3", "{name}");
    }
}

fn write(file: &std::path::Path, at: u64, bytes: &[u8]) {
    let file = std::fs::File::options().write(true).open(file).unwrap();
    file.write_all_at(bytes, at).unwrap();
}
