// SPDX-License-Identifier: MIT OR Apache-2.0

//! A whole host in a directory, made and booted by `flipside sim`, updated by the library.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flipside::config::{Config, Initiative};
use flipside::error::Error as RunError;
use flipside::report::progress::Silent;
use flipside::report::{LiveStatus, Status, StatusFile};
use flipside::run::{self, Outcome, Promotion, Run};
use flipside_core::cancel::Cancel;
use flipside_core::host::Root;
use flipside_core::host::durable::Durable;
use flipside_image::Digest;
use flipside_publish::delta::{self, DeltaSettings, DeltaTarget, MadeDelta, OpenedImage};
use flipside_publish::disk::Plan;
use flipside_sim::{self as sim, Backend, BootOptions, Ending, NewOptions, Power, Promote, Quirk};
use flipside_source::{Location, Options as SourceOptions};
use tempfile::TempDir;

use super::images::{ImageBuilder, OsImage};

/// A host, and the OCI layout that it follows by the tag `stable`.
#[allow(dead_code)]
pub struct TestHost {
    pub directory: TempDir,
    pub track: PathBuf,
}

#[allow(dead_code)]
impl TestHost {
    /// Runs `image`, from slot A, promoted.
    pub fn running(image: &ImageBuilder) -> Self {
        let host = Self::unproven(image);
        assert_eq!(host.boot(), "A 1 promoted");
        host
    }

    /// Has `image` in slot A and has never booted to success.
    pub fn unproven(image: &ImageBuilder) -> Self {
        Self::unproven_by(Backend::Uefi, image)
    }

    /// Runs `image`, from slot A, promoted, on a host with another boot backend.
    pub fn running_by(backend: Backend, image: &ImageBuilder) -> Self {
        let host = Self::unproven_by(backend, image);
        assert_eq!(host.boot(), "A 1 promoted");
        host
    }

    /// Runs `image`, from slot A, promoted, on firmware with these faults.
    pub fn running_on(quirks: &[Quirk], image: &ImageBuilder) -> Self {
        let host = Self::unproven_on(quirks, Backend::Uefi, image);
        assert_eq!(host.boot(), "A 1 promoted");
        host
    }

    /// Runs `image`, from slot A of this many bytes, promoted.
    pub fn running_in(slot_size: u64, image: &ImageBuilder) -> Self {
        let host = Self::made(slot_size, &[], Backend::Uefi, image);
        assert_eq!(host.boot(), "A 1 promoted");
        host
    }

    pub fn unproven_by(backend: Backend, image: &ImageBuilder) -> Self {
        Self::unproven_on(&[], backend, image)
    }

    fn unproven_on(quirks: &[Quirk], backend: Backend, image: &ImageBuilder) -> Self {
        Self::made(1 << 20, quirks, backend, image)
    }

    fn made(slot_size: u64, quirks: &[Quirk], backend: Backend, image: &ImageBuilder) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let track = directory.path().join("track");
        let host = Self { directory, track };
        host.publish(image);
        let reference = format!("oci:{}:stable", host.track.display());
        let options = NewOptions {
            images: vec![reference.clone()],
            track: Some(reference),
            backend,
            quirks: quirks.to_vec(),
            ..NewOptions::default()
        };
        let disk = Plan {
            esp_size: Some(4 << 20),
            slot_size: Some(slot_size),
            seed: Some(1),
            loader: Some(loader(host.directory.path())),
            ..Plan::default()
        };
        flipside::cli::new_machine(&host.path(), &options, &disk).unwrap();
        host
    }

    /// The root.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("host")
    }

    /// A file of the host.
    pub fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// Lets the tag point to `image`.
    pub fn publish(&self, image: &ImageBuilder) -> OsImage {
        // Under its version as well: `sim` knows what the layout lists.
        image.clone().tag(&format!("v{}", image.version)).write(&self.track);
        image.clone().tag("stable").write(&self.track)
    }

    /// Publishes a delta from version `from` to version `to` beside them.
    pub fn publish_delta(&self, from: &str, to: &str) -> MadeDelta {
        let options = SourceOptions::new(Root::new("/"), Cancel::new());
        let open = |version: &str| {
            let location: Location =
                format!("oci:{}:v{version}", self.track.display()).parse().unwrap();
            OpenedImage::open(&location, None, &options).unwrap()
        };
        let (target, settings) = (DeltaTarget::Layout(&self.track), DeltaSettings::default());
        delta::publish(&open(from), &open(to), target, settings, &options, &Silent).unwrap()
    }

    /// Lets the tag lead to lower versions as well.
    pub fn allow_downgrades(&self) {
        let directory = self.file("etc/flipside/flipside.toml.d");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("20-down.toml"), "update.allow_downgrade = true\n").unwrap();
    }

    /// A run of a command.
    pub fn run(&self) -> Run {
        self.run_with(Durable::new(), |_| {})
    }

    pub fn run_with(&self, durable: Durable, change: impl FnOnce(&mut Config)) -> Run {
        run_on(&self.path(), durable, change)
    }

    pub fn update(&self) -> Result<Outcome, RunError> {
        update_and_finish(&self.run())
    }

    /// `update`, which arms; returns `B 2` for version 2 in slot B.
    pub fn arm(&self) -> String {
        match self.update().unwrap() {
            Outcome::Armed { slot, version, before: false, .. } => format!("{slot} {version}"),
            other => panic!("{other:?}"),
        }
    }

    /// The code with which `update` is refused.
    pub fn refusal(&self) -> &'static str {
        use flipside_image::code::Coded as _;
        self.update().unwrap_err().code().name()
    }

    /// Boots to success: `B 2 promoted`, slot, version and what became of it.
    pub fn boot(&self) -> String {
        self.boot_with(false, Power::default())
    }

    /// Boots, and does not get to boot success.
    pub fn boot_and_fail(&self) -> String {
        self.boot_with(true, Power::default())
    }

    pub fn boot_with(&self, fail: bool, power: Power) -> String {
        boot(&self.path(), fail, power)
    }

    pub fn promote(&self) -> Promotion {
        run::promote(&self.run()).unwrap()
    }

    pub fn status(&self) -> Status {
        run::status(&self.run())
    }

    pub fn retry(&self, digest: &Digest) -> bool {
        run::retry(&self.run(), digest).unwrap()
    }
}

/// A run on any host directory.
pub fn run_on(path: &Path, durable: Durable, change: impl FnOnce(&mut Config)) -> Run {
    let root = Root::new(path);
    let mut config = Config::load(&root).unwrap();
    change(&mut config);
    let follow = LiveStatus::new(StatusFile::of(&root), run::last_status(&root));
    Run {
        config,
        durable,
        progress: Arc::new(Silent),
        follow: Arc::new(follow),
        stop: Cancel::new(),
        plain_http: false,
        root,
    }
}

pub fn update_and_finish(run: &Run) -> Result<Outcome, RunError> {
    let result = run::update(run, Initiative::Manual);
    run::finish(run, result.as_ref().err());
    result
}

/// Boots any host directory, promoting in this process.
pub fn boot(path: &Path, fail: bool, power: Power) -> String {
    let promote = |path: &Path| {
        run::promote(&run_on(path, Durable::new(), |_| {})).map(|_| ()).map_err(|e| e.to_string())
    };
    let options =
        BootOptions { fail, power, promote: Promote::Call(&promote), ..BootOptions::default() };
    let outcome = sim::boot(path, &options).unwrap();
    match outcome.booted {
        Ok((booted, ending)) => {
            if let sim::Promotion::Failed(why) = outcome.promotion {
                return format!("{} {} promote failed: {why}", booted.slot, booted.version);
            }
            let ending = match ending {
                Ending::Trial => "trial",
                Ending::Promoted => "promoted",
                Ending::FellBack => "fell back",
            };
            format!("{} {} {ending}", booted.slot, booted.version)
        }
        Err(why) => format!("dead: {why}; {:?}", outcome.notes),
    }
}

/// A stand-in for systemd-boot, by what it says of itself: `sim` plays it and starts nothing.
#[allow(dead_code)]
pub fn loader_program(version: &str) -> Vec<u8> {
    let mut program = super::images::kernel(flipside_image::Architecture::X86_64, 9, 5000);
    program.extend(format!("#### LoaderInfo: systemd-boot {version} ####").bytes());
    program
}

fn loader(directory: &Path) -> PathBuf {
    let path = directory.join("loader.efi");
    std::fs::write(&path, loader_program("252.39-1~deb12u2")).unwrap();
    path
}
