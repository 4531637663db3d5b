// SPDX-License-Identifier: MIT OR Apache-2.0

//! The runs whose every step is cut: how the host stands before, what is run, and what may
//! boot afterwards.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flipside::config::Initiative;
use flipside::run;
use flipside_core::host::durable::{Durable, Step, StepObserver};
use flipside_image::code::Coded as _;
use flipside_sim::{self as sim, Backend, BootOptions, Judge, Quirk};

use crate::deltas;
use crate::host::{TestHost, run_on};
use crate::images::ImageBuilder;
use crate::model::{Model, Tree};
use crate::recorder::{Op, Recorder};
use crate::rules;

/// What is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Update,
    Promote,
    Rollback,
    /// What runs, on trial, has failed.
    Fail,
}

impl Action {
    /// Runs it on the host in `path`.
    pub fn run(self, path: &Path, durable: Durable) -> Result<(), String> {
        let run = run_on(path, durable, |_| {});
        match self {
            Self::Update => match run::update(&run, Initiative::Manual) {
                // It has settled what came before.
                Err(error) if error.code().name() == "digest-failed" => Ok(()),
                result => result.map(|_| ()),
            },
            Self::Promote => run::promote(&run).map(|_| ()),
            Self::Rollback => run::rollback(&run, false).map(|_| ()),
            Self::Fail => run::fail_trial(&run, "late").map(|_| ()),
        }
        .map_err(|error| error.to_string())
    }
}

/// A recorded run.
pub struct Scenario {
    pub name: String,
    pub backend: Backend,
    pub action: Action,
    /// Keeps the images in place.
    pub _host: TestHost,
    pub judge: Judge,
    pub model: Model,
    pub log: Vec<Op>,
    /// What stood before, and what stands after.
    pub base: Tree,
    pub end: Tree,
    /// The slot that runs: `a` or `b`.
    pub running: char,
    /// The system payload in the running slot, as offset and length in `disk.img`.
    pub running_region: (usize, usize),
    /// The versions that may boot after a cut.
    pub may_boot: &'static [&'static str],
    /// The version that the tag names: where recovery ends, unless that digest is refused.
    pub goal: &'static str,
    /// Whether a trial is still to be counted: it is not where NVRAM is lost before that.
    pub has_uncounted_trial: bool,
    /// Whether what is armed is disarmed, and stays installed.
    pub unarms: bool,
}

fn version(version: &str) -> ImageBuilder {
    // Small, so that ten thousand hosts can be built: four chunks.
    ImageBuilder::new(version).chunk_size(16 << 10).system_size(64 << 10)
}

/// The same content under another manifest.
fn renamed(name: &str) -> ImageBuilder {
    version(name).annotation("com.example.note", "signed again")
}

/// Boots without any promotion, as a host that is cut off before.
fn boot_only(host: &TestHost) {
    sim::boot(&host.path(), &BootOptions::default()).unwrap();
}

fn updated(host: &TestHost, to: &str) {
    host.publish(&version(to));
    host.arm();
    assert!(host.boot().ends_with("promoted"));
}

/// Two trials of `what` fall back.
fn fails(host: &TestHost, what: &str) {
    host.publish(&version(what));
    for _ in 0..2 {
        host.arm();
        host.boot_and_fail();
        host.boot();
    }
}

/// The same of 2, and what runs has not seen the second yet.
fn fails_uncounted(host: &TestHost) {
    host.publish(&version("2"));
    host.arm();
    host.boot_and_fail();
    host.boot();
    host.arm();
    host.boot_and_fail();
    boot_only(host);
}

/// Runs 2 in slot B, on trial.
fn on_trial(host: &TestHost) {
    host.publish(&version("2"));
    host.arm();
    boot_only(host);
}

/// Ends the process, so to speak, behind so many of the steps that are counted.
pub struct CutBehind {
    pub left: AtomicUsize,
    pub counted: fn(&Step<'_>) -> bool,
}

impl StepObserver for CutBehind {
    fn before(&self, step: &Step<'_>) -> io::Result<()> {
        let counted = usize::from((self.counted)(step));
        let pass = |left: usize| left.checked_sub(counted).filter(|_| left > 0);
        match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, pass) {
            Ok(_) => Ok(()),
            Err(_) => Err(io::Error::other("cut off")),
        }
    }
}

/// Makes all scenarios.
pub fn all() -> Vec<Scenario> {
    let mut all = by(Backend::Uefi);
    all.extend(by(Backend::SystemdBoot));
    all.extend(by_file());
    all.extend(deltas::by(Backend::Uefi));
    all.extend(deltas::by(Backend::SystemdBoot));
    all
}

/// Runs on firmware that has its variables kept in a file on the ESP.
fn by_file() -> Vec<Scenario> {
    let fresh = || TestHost::running_on(&[Quirk::VariablesInFile], &version("1"));
    let mut all = Vec::new();
    let mut add = |name: &str, host, action, running, may_boot, goal| {
        let name = format!("variables in a file: {name}");
        all.push(record(name, host, action, running, may_boot, goal));
    };

    let host = fresh();
    host.publish(&version("2"));
    add("update from A", host, Action::Update, 'a', &["1", "2"][..], "2");

    let host = fresh();
    host.publish(&version("2"));
    host.arm();
    host.publish(&version("3"));
    add("update superseding", host, Action::Update, 'a', &["1", "2", "3"][..], "3");

    let host = fresh();
    on_trial(&host);
    add("promote", host, Action::Promote, 'b', &["1", "2"][..], "2");

    let host = fresh();
    updated(&host, "2");
    add("rollback", host, Action::Rollback, 'b', &["1", "2"][..], "2");
    all
}

/// The scenarios of hosts that boot their slots so.
fn by(backend: Backend) -> Vec<Scenario> {
    let fresh = || TestHost::running_by(backend, &version("1"));
    let mut all = Vec::new();
    let mut add = |name: &str, host: TestHost, action, running, may_boot, goal| {
        all.push(record_by(backend, name, host, action, running, may_boot, goal));
    };

    let host = fresh();
    host.publish(&version("2"));
    add("update from A", host, Action::Update, 'a', &["1", "2"][..], "2");

    let host = fresh();
    updated(&host, "2");
    host.publish(&version("3"));
    add("update from B", host, Action::Update, 'b', &["2", "3"][..], "3");

    let host = fresh();
    host.publish(&version("2"));
    // A file without a name is no step that a cut can come behind.
    let counted =
        |step: &Step<'_>| !matches!(step, Step::CreateUnnamed(..) | Step::WriteUnnamed(..));
    let cut = Durable::observed(Arc::new(CutBehind { left: AtomicUsize::new(30), counted }));
    assert!(Action::Update.run(&host.path(), cut).is_err());
    add("update resumed", host, Action::Update, 'a', &["1", "2"][..], "2");

    let host = fresh();
    host.publish(&version("2"));
    host.arm();
    host.publish(&version("3"));
    add("update superseding", host, Action::Update, 'a', &["1", "2", "3"][..], "3");

    let host = fresh();
    fails(&host, "2");
    host.publish(&version("3"));
    add("update, a failed digest on file", host, Action::Update, 'a', &["1", "3"][..], "3");

    if backend == Backend::Uefi {
        let host = fresh();
        updated(&host, "2");
        turn_boot_order(&host);
        boot_only(&host);
        host.publish(&version("3"));
        add(
            "update, order undone by the firmware",
            host,
            Action::Update,
            'a',
            &["1", "2", "3"][..],
            "3",
        );
    }

    let host = fresh();
    updated(&host, "2");
    choose(&host, backend, "A");
    boot_only(&host);
    host.publish(&version("3"));
    add("update, the other slot comes first", host, Action::Update, 'a', &["1", "2", "3"][..], "3");

    let host = fresh();
    host.allow_downgrades();
    host.publish(&version("2"));
    host.arm();
    host.publish(&version("1"));
    add("unarm", host, Action::Update, 'a', &["1", "2"][..], "1");

    for (name, again) in [
        ("update, armed as it stands", version("2")),
        ("update, the content stands in the target", renamed("2")),
    ] {
        let host = fresh();
        host.allow_downgrades();
        host.publish(&version("2"));
        host.arm();
        host.publish(&version("1"));
        host.update().unwrap();
        host.publish(&again);
        add(name, host, Action::Update, 'a', &["1", "2"][..], "2");
    }

    let host = fresh();
    host.publish(&renamed("1"));
    add("adopt", host, Action::Update, 'a', &["1"][..], "1");

    for (name, tag, may_boot, goal) in [
        ("update, the last trial not counted yet", "3", &["1", "3"][..], "3"),
        ("update to it, the last trial not counted yet", "2", &["1"][..], "1"),
    ] {
        let host = fresh();
        fails_uncounted(&host);
        host.publish(&version(tag));
        add(name, host, Action::Update, 'a', may_boot, goal);
    }

    let host = fresh();
    fails(&host, "9");
    on_trial(&host);
    add("fail a trial", host, Action::Fail, 'b', &["1"][..], "1");

    if backend == Backend::Uefi {
        let host = fresh();
        fails(&host, "9");
        on_trial(&host);
        turn_boot_order(&host);
        let name = "fail a trial that the firmware moved to the front";
        add(name, host, Action::Fail, 'b', &["1", "2"][..], "1");
    }

    let host = fresh();
    on_trial(&host);
    add("promote", host, Action::Promote, 'b', &["1", "2"][..], "2");

    let host = fresh();
    host.publish(&renamed("1"));
    host.update().unwrap();
    on_trial(&host);
    add("promote after an adoption", host, Action::Promote, 'b', &["1", "2"][..], "2");

    let host = TestHost::unproven_by(backend, &version("1"));
    boot_only(&host);
    add("promote, first boot", host, Action::Promote, 'a', &["1"][..], "1");

    let host = fresh();
    fails(&host, "9");
    host.publish(&version("2"));
    host.arm();
    host.boot_and_fail();
    boot_only(&host);
    add("promote after a fall-back", host, Action::Promote, 'a', &["1", "2"][..], "2");

    let host = fresh();
    fails_uncounted(&host);
    add("promote after the last fall-back", host, Action::Promote, 'a', &["1", "2"][..], "1");

    if backend == Backend::Uefi {
        let host = fresh();
        updated(&host, "2");
        turn_boot_order(&host);
        boot_only(&host);
        add("promote, promotion lost", host, Action::Promote, 'a', &["1", "2"][..], "2");
    }

    if backend == Backend::Uefi {
        let host = fresh();
        newer_loader(&host);
        add("promote, a newer loader", host, Action::Promote, 'a', &["1"][..], "1");
    }

    let host = fresh();
    fails(&host, "9");
    updated(&host, "2");
    add("rollback", host, Action::Rollback, 'b', &["1", "2"][..], "2");

    let host = fresh();
    updated(&host, "2");
    run::rollback(&host.run(), false).unwrap();
    boot_only(&host);
    add("promote after a rollback", host, Action::Promote, 'a', &["1", "2"][..], "2");
    all
}

/// The OS brings a newer systemd-boot than the one on the ESP.
fn newer_loader(host: &TestHost) {
    let directory = host.file("usr/lib/systemd/boot/efi");
    std::fs::create_dir_all(&directory).unwrap();
    let program = crate::host::loader_program("258.1-1");
    std::fs::write(directory.join("systemd-bootx64.efi"), program).unwrap();
}

/// A person picks a slot for the next boot in the firmware's menu, or in the loader's.
fn choose(host: &TestHost, backend: Backend, slot: &str) {
    if backend == Backend::SystemdBoot {
        let (path, bytes) = rules::one_shot(slot);
        return std::fs::write(host.file(path), bytes).unwrap();
    }
    let status = host.status();
    let number = status.slots.iter().find(|s| s.slot.to_string() == slot).unwrap();
    let number = u16::from_str_radix(number.boot_entry.as_ref().unwrap(), 16).unwrap();
    let mut bytes = vec![7, 0, 0, 0];
    bytes.extend(number.to_le_bytes());
    let next = "sys/firmware/efi/efivars/BootNext-8be4df61-93ca-11d2-aa0d-00e098032b8c";
    std::fs::write(host.file(next), bytes).unwrap();
}

/// The firmware puts the first two of `BootOrder`, flipside's, in the reverse order.
fn turn_boot_order(host: &TestHost) {
    let directory = host.file("sys/firmware/efi/efivars");
    let path = directory.join("BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4..8].rotate_left(2);
    std::fs::write(path, bytes).unwrap();
}

/// What belongs to a machine that is off: not `/run`.
pub fn is_volatile(path: &Path) -> bool {
    path.starts_with("run")
}

/// Records `action` on a host that boots its slots so.
pub fn record_by(
    backend: Backend,
    name: &str,
    host: TestHost,
    action: Action,
    running: char,
    may_boot: &'static [&'static str],
    goal: &'static str,
) -> Scenario {
    let name = match backend {
        Backend::Uefi => name.to_owned(),
        Backend::SystemdBoot => format!("systemd-boot: {name}"),
    };
    Scenario { backend, ..record(name, host, action, running, may_boot, goal) }
}

fn record(
    name: String,
    host: TestHost,
    action: Action,
    running: char,
    may_boot: &'static [&'static str],
    goal: &'static str,
) -> Scenario {
    let base = Tree::read(&host.path());
    let has_uncounted_trial =
        name.ends_with("the last trial not counted yet") || name.ends_with("the last fall-back");
    let (log, end) = record_run(&host.path(), action);
    let unarms = name.ends_with("unarm");
    let running_region = region_of(&base, running);
    Scenario {
        name,
        backend: Backend::Uefi,
        action,
        judge: Judge::of(&host.path()).unwrap(),
        model: Model::new(base.clone(), &log),
        log,
        base,
        end,
        _host: host,
        running,
        running_region,
        may_boot,
        goal,
        has_uncounted_trial,
        unarms,
    }
}

/// The log of `action` on the host in `path`, and what stands after it.
pub fn record_run(path: &Path, action: Action) -> (Vec<Op>, Tree) {
    let recorder = Arc::new(Recorder::new(path));
    action.run(path, Durable::observed(recorder.clone())).unwrap();
    (recorder.take(), Tree::read(path))
}

/// Where the partition `system-LETTER` lies: read with `sgdisk`, not with flipside's code.
pub fn region_of(tree: &Tree, letter: char) -> (usize, usize) {
    let directory = tempfile::tempdir().unwrap();
    let disk: PathBuf = directory.path().join("disk.img");
    std::fs::write(&disk, tree.file("disk.img").unwrap()).unwrap();
    for number in 1.. {
        let output = std::process::Command::new("sgdisk")
            .env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap()))
            .arg(format!("--info={number}"))
            .arg(&disk)
            .output()
            .expect("sgdisk (Debian: apt install gdisk) has to be installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let sector = |key: &str| -> usize {
            let line = text.lines().find_map(|l| l.strip_prefix(key)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        if text.contains(&format!("Partition name: 'system-{letter}'")) {
            let (first, last) = (sector("First sector: "), sector("Last sector: "));
            return (first * 512, (last - first + 1) * 512);
        }
        assert!(text.contains("First sector"), "no partition system-{letter}: {text}");
    }
    unreachable!()
}
