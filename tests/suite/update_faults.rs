// SPDX-License-Identifier: MIT OR Apache-2.0

//! Every single write of an update that fails: the run ends with a code, the host boots the old
//! version, and a run without the fault completes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flipside_core::host::durable::Step;
use flipside_image::code::Coded as _;
use nix::errno::Errno;

use crate::support::host::{TestHost, update_and_finish};
use crate::support::images::ImageBuilder;
use crate::support::steps::Steps;

fn version(version: &str) -> ImageBuilder {
    ImageBuilder::new(version).chunk_size(32 << 10).system_size(64 << 10)
}

fn waiting() -> TestHost {
    let host = TestHost::running(&version("1"));
    host.publish(&version("2"));
    host
}

fn is_variable(step: &Step<'_>) -> bool {
    matches!(step, Step::SetVariable(..) | Step::RemoveVariable(_))
}

fn is_file(step: &Step<'_>) -> bool {
    !matches!(step, Step::Phase(_)) && !is_variable(step)
}

/// Updates with the `n`-th step of `kind` failing, once or from there on; the code, `None` where
/// the run succeeded all the same; and whether there was such a step.
fn update_with(
    host: &TestHost,
    kind: fn(&Step<'_>) -> bool,
    n: usize,
    for_good: bool,
    errno: Errno,
) -> (Option<&'static str>, bool) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let steps = Steps::with(move |step| {
        let at = kind(step).then(|| counted.fetch_add(1, Ordering::SeqCst))?;
        (at == n || (for_good && at > n)).then(|| errno.into())
    });
    let result = update_and_finish(&host.run_with(steps.durable(), |_| {}));
    (result.err().map(|error| error.code().name()), count.load(Ordering::SeqCst) > n)
}

fn every_step(kind: fn(&Step<'_>) -> bool, errno: Errno, codes: &[&str]) {
    for for_good in [false, true] {
        for n in 0.. {
            let host = waiting();
            let (code, happened) = update_with(&host, kind, n, for_good, errno);
            if !happened {
                assert!(n > 1, "there are such steps");
                break;
            }
            let case = format!("{errno:?} at step {n}, for good: {for_good}");
            if let Some(code) = code {
                assert!(codes.contains(&code), "{case}: {code}");
                let boot = host.boot();
                // Only once everything is whole may the new one boot.
                assert!(boot == "A 1 promoted" || boot == "B 2 promoted", "{case}: {boot}");
                if boot == "B 2 promoted" {
                    continue;
                }
                assert_eq!(host.arm(), "B 2", "{case}");
            }
            assert_eq!(host.boot(), "B 2 promoted", "{case}");
        }
    }
}

#[test]
fn nvram_that_is_full_at_any_write_ends_the_run_and_a_later_one_completes() {
    every_step(is_variable, Errno::ENOSPC, &["nvram-full"]);
}

#[test]
fn nvram_that_is_read_only_at_any_write_ends_the_run_and_a_later_one_completes() {
    every_step(is_variable, Errno::EROFS, &["efi-variables-read-only"]);
}

#[test]
fn a_full_file_system_at_any_write_ends_the_run_and_a_later_one_completes() {
    every_step(is_file, Errno::ENOSPC, &["esp-full", "state-full", "disk-failed"]);
}

#[test]
fn a_medium_that_fails_at_any_write_ends_the_run_and_a_later_one_completes() {
    every_step(is_file, Errno::EIO, &["esp-damaged", "state-unwritable", "disk-failed"]);
}

#[test]
fn a_variable_that_the_firmware_puts_back_at_once_is_not_believed() {
    use std::os::unix::fs::PermissionsExt as _;
    let host = waiting();
    // A directory has its name: it can be neither written nor read back.
    let efivars = host.file("sys/firmware/efi/efivars");
    let next = efivars.join("BootNext-8be4df61-93ca-11d2-aa0d-00e098032b8c");
    let late = next.clone();
    let steps = Steps::with(move |step| {
        // What is written goes to a device that forgets it.
        if matches!(step, Step::SetVariable(path, _) if *path == late) {
            std::os::unix::fs::symlink("/dev/null", &late).unwrap();
        }
        None
    });
    let error = update_and_finish(&host.run_with(steps.durable(), |_| {})).unwrap_err();
    assert_eq!(error.code().name(), "nvram-write-lost");
    std::fs::remove_file(&next).unwrap();
    assert_eq!(host.boot(), "A 1 promoted");
    assert_eq!(host.arm(), "B 2");
    std::fs::set_permissions(&efivars, std::fs::Permissions::from_mode(0o555)).unwrap();
    host.publish(&version("3"));
    assert_eq!(host.refusal(), "efi-variables-read-only");
    std::fs::set_permissions(&efivars, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(host.boot(), "B 2 promoted");
}
