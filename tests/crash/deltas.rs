// SPDX-License-Identifier: MIT OR Apache-2.0

//! Updates that make from the running slot what they can: by a delta, and by copying alone.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use flipside_core::host::durable::{Durable, Step};
use flipside_image::Architecture;
use flipside_sim::Backend;

use crate::host::TestHost;
use crate::images::{ImageBuilder, content, kernel};
use crate::model::{Model, Tree};
use crate::recorder::Op;
use crate::scenario::{Action, CutBehind, Scenario, record_by, region_of};

const CHUNK: usize = 16 << 10;
const DISK: &str = "disk.img";

/// What makes chunks 0, 1 and 3 of `system`, and one of the kernel's two. Chunk 2 is fetched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A delta: chunk 0 stays as it is, and the others differ by a byte from one version to the next.
    Delta,
    /// No delta: the three change places from one version to the next.
    Copies,
}

/// The runs on hosts that boot their slots so.
pub fn by(backend: Backend) -> Vec<Scenario> {
    [Way::Delta, Way::Copies].into_iter().flat_map(|way| way.scenarios(backend)).collect()
}

impl Way {
    fn image(self, version: &str) -> ImageBuilder {
        let seed = version.as_bytes()[0];
        let mut parts: Vec<Vec<u8>> = content(1, 3 * CHUNK).chunks(CHUNK).map(Vec::from).collect();
        match self {
            Self::Delta => parts[1..].iter_mut().for_each(|part| part[5000] = seed),
            Self::Copies => parts.rotate_left(usize::from(seed % 3)),
        }
        parts.insert(2, content(seed.into(), CHUNK));
        let mut boot = kernel(Architecture::X86_64, 1, 20_000);
        boot[18_000] = seed;
        ImageBuilder::new(version)
            .chunk_size(CHUNK as u64)
            .payload("system", parts.concat())
            .payload("kernel.efi", boot)
    }

    fn publish(self, host: &TestHost, from: &str, to: &str) {
        host.publish(&self.image(to));
        if self == Self::Delta {
            host.publish_delta(from, to);
        }
    }

    fn scenarios(self, backend: Backend) -> Vec<Scenario> {
        let fresh = || {
            let host = TestHost::running_by(backend, &self.image("1"));
            self.publish(&host, "1", "2");
            host
        };
        let way = if self == Self::Delta { "by a delta" } else { "by copying" };
        let record = |name: &str, host, running, may_boot, goal| {
            let name = format!("update {way}, {name}");
            record_by(backend, &name, host, Action::Update, running, may_boot, goal)
        };

        let from_a = record("from A", fresh(), 'a', &["1", "2"], "2");
        assert_eq!(writes(&from_a), [(0, 2), (2, 1), (3, 1)], "{}", from_a.name);

        let host = fresh();
        host.arm();
        assert!(host.boot().ends_with("promoted"));
        self.publish(&host, "2", "3");
        let from_b = record("from B", host, 'b', &["2", "3"], "3");
        // Slot A still holds version 1, which has chunk 0 of the delta as it is.
        let first = if self == Self::Delta { (1, 1) } else { (0, 2) };
        assert_eq!(writes(&from_b), [first, (2, 1), (3, 1)], "{}", from_b.name);

        let host = fresh();
        let counted =
            |step: &Step<'_>| matches!(step, Step::Write(path, ..) if path.ends_with(DISK));
        let cut = Durable::observed(Arc::new(CutBehind { left: AtomicUsize::new(1), counted }));
        assert!(Action::Update.run(&host.path(), cut).is_err());
        let resumed = record("resumed", host, 'a', &["1", "2"], "2");
        // Which chunks were made first is left to the threads.
        let left = writes(&resumed);
        assert!([[(2, 1), (3, 1)], [(0, 2), (2, 1)]].iter().any(|l| left == l), "{left:?}");

        let host = fresh();
        let whole = overwrite_base(&host);
        let mut fallen = record("from other bytes", host, 'a', &["1", "2"], "2");
        restore_base(&mut fallen, &whole);
        let fetched = match self {
            Self::Delta => [(0, 1), (1, 2), (3, 1)].as_slice(),
            Self::Copies => &[(0, 1), (1, 1), (2, 1), (3, 1)],
        };
        assert_eq!(writes(&fallen), fetched, "{}", fallen.name);
        vec![from_a, from_b, resumed, fallen]
    }
}

/// Overwrites chunk 1 of the `system` that runs, in slot A. Returns the chunk.
fn overwrite_base(host: &TestHost) -> Vec<u8> {
    let (at, _) = region_of(&Tree::read(&host.path()), 'a');
    let path = host.file(DISK);
    let mut disk = std::fs::read(&path).unwrap();
    let chunk = &mut disk[at + CHUNK..at + 2 * CHUNK];
    let whole = chunk.to_vec();
    chunk.reverse();
    std::fs::write(path, disk).unwrap();
    whole
}

/// Undoes it before and after the run that is recorded. What boots is compared with the images, and
/// that a damaged slot does not boot whole says nothing about the update.
fn restore_base(scenario: &mut Scenario, whole: &[u8]) {
    let at = scenario.running_region.0 + CHUNK;
    scenario.base.overwrite(DISK, at, whole);
    scenario.end.overwrite(DISK, at, whole);
    scenario.model = Model::new(scenario.base.clone(), &scenario.log);
}

/// Which chunks of the target were written at once: the first of them, and their number. What is
/// made and what is fetched is never written together.
fn writes(scenario: &Scenario) -> Vec<(usize, usize)> {
    let target = if scenario.running == 'a' { 'b' } else { 'a' };
    let (start, _) = region_of(&scenario.base, target);
    let of_target = |op: &Op| match op {
        Op::Write(path, at, bytes) if path == Path::new(DISK) => {
            Some(((*at as usize).checked_sub(start)? / CHUNK, bytes.len() / CHUNK))
        }
        _ => None,
    };
    let mut writes: Vec<_> = scenario.log.iter().filter_map(of_target).collect();
    writes.sort_unstable();
    writes
}
