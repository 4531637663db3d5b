// SPDX-License-Identifier: MIT OR Apache-2.0

//! P9: an edit of the table that the power cuts off.

use std::fs;
use std::io;
use std::sync::{Arc, Mutex};

use super::*;
use crate::host::durable::{Step, StepObserver};

#[derive(Clone, Debug)]
enum Seen {
    Write(u64, Vec<u8>),
    Sync,
}

#[derive(Default)]
struct Recorder(Mutex<Vec<Seen>>);

impl StepObserver for Recorder {
    fn before(&self, step: &Step<'_>) -> io::Result<()> {
        let seen = match step {
            Step::Write(_, at, bytes) => Seen::Write(*at, bytes.to_vec()),
            Step::Sync(_) => Seen::Sync,
            other => panic!("{other:?}"),
        };
        self.0.lock().unwrap().push(seen);
        Ok(())
    }
}

/// Thousands of syncs take their time on a disk.
fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Small enough to be kept by the hundred.
fn small_image(sector_size: u32) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("small.img");
    test_disk::make_of(&path, sector_size, 64 * 1024, [4, 4]);
    fs::read(path).unwrap()
}

/// Runs the edit on a disk with these bytes; what it wrote.
fn recorded(directory: &Path, bytes: &[u8], identity: &PartitionIdentity) -> Vec<Seen> {
    let path = directory.join("disk.img");
    fs::write(&path, bytes).unwrap();
    let recorder = Arc::new(Recorder::default());
    edit(&path, &Durable::observed(recorder.clone()), 3, identity).unwrap();
    let seen = recorder.0.lock().unwrap().clone();
    assert!(matches!(seen.last(), None | Some(Seen::Sync)));
    seen
}

/// Every disk that a power cut may leave: all that was synced, and any of the 512-byte
/// pieces of what was not.
fn crash_states(start: &[u8], steps: &[Seen]) -> Vec<Vec<u8>> {
    let mut states = vec![start.to_vec()];
    let mut synced = start.to_vec();
    let mut pending: Vec<(usize, Vec<u8>)> = Vec::new();
    for step in steps {
        match step {
            Seen::Write(at, bytes) => {
                let at = usize::try_from(*at).unwrap();
                let pieces = bytes.chunks(512).enumerate();
                pending.extend(
                    pieces
                        .map(|(piece, bytes)| (at + piece * 512, bytes.to_vec()))
                        .filter(|(at, bytes)| synced[*at..*at + bytes.len()] != **bytes),
                );
                assert!(pending.len() < 10);
                for chosen in 0..1_u32 << pending.len() {
                    let mut state = synced.clone();
                    for (bit, (at, bytes)) in pending.iter().enumerate() {
                        if chosen & (1 << bit) != 0 {
                            state[*at..*at + bytes.len()].copy_from_slice(bytes);
                        }
                    }
                    states.push(state);
                }
            }
            Seen::Sync => {
                for (at, bytes) in pending.drain(..) {
                    synced[at..at + bytes.len()].copy_from_slice(&bytes);
                }
            }
        }
    }
    assert!(pending.is_empty());
    states.push(synced);
    states
}

/// Whether the copy whose header is in sector `lba` is whole. Written anew here.
fn is_whole(bytes: &[u8], sector: usize, lba: usize) -> bool {
    let header = &bytes[lba * sector..(lba + 1) * sector];
    let number = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap()) as usize;
    let mut plain = header[..number(12)].to_vec();
    plain[16..20].fill(0);
    let array = number(72) * sector;
    let entries = &bytes[array..array + number(80) * number(84)];
    crc32fast::hash(&plain) as usize == number(16)
        && crc32fast::hash(entries) as usize == number(88)
}

fn uuid_of_b(bytes: &[u8]) -> Uuid {
    read_image(bytes).unwrap().entries[2].uuid
}

#[test]
fn at_every_moment_of_an_edit_one_copy_is_whole_and_the_next_edit_completes_it() {
    let directory = in_memory();
    let wanted = |uuid| PartitionIdentity { uuid: Some(Uuid::from_u128(uuid)), ..KEEP };
    let mut tried = 0;
    for sector_size in SECTOR_SIZES {
        let start = small_image(sector_size);
        let sector = sector_size as usize;
        let last = start.len() / sector - 1;
        let check = |state: &[u8], allowed: &[Uuid]| {
            let whole = [is_whole(state, sector, 1), is_whole(state, sector, last)];
            assert!(whole.contains(&true));
            let table = read_image(state).unwrap();
            assert_eq!(table.agreement == Agreement::Same, {
                let ends = |lba: usize| &state[lba * sector + 88..lba * sector + 92];
                whole == [true, true] && ends(1) == ends(last)
            });
            assert!(allowed.contains(&table.entries[2].uuid));
        };
        let steps = recorded(directory.path(), &start, &wanted(1));
        assert_eq!(steps.len(), 8, "two sectors for each copy, each synced");
        for cut in crash_states(&start, &steps) {
            tried += 1;
            let before = SLOT_UUIDS[1];
            check(&cut, &[before, Uuid::from_u128(1)]);
            // The next run wants the same, the old one, or something else, and is cut again.
            for next in [wanted(1), wanted(SLOT_UUIDS[1].as_u128()), wanted(2)] {
                let allowed = [uuid_of_b(&cut), next.uuid.unwrap()];
                let steps = recorded(directory.path(), &cut, &next);
                for again in crash_states(&cut, &steps) {
                    tried += 1;
                    check(&again, &allowed);
                }
                let end = fs::read(directory.path().join("disk.img")).unwrap();
                check(&end, &[next.uuid.unwrap()]);
                assert_eq!(read_image(&end).unwrap().agreement, Agreement::Same);
            }
        }
    }
    println!("{tried} crash states");
}

/// The other partition's edit finds what the first one's left.
#[test]
fn an_interrupted_edit_is_completed_by_the_edit_of_another_partition() {
    let directory = in_memory();
    let start = small_image(512);
    let identity = PartitionIdentity { uuid: Some(Uuid::from_u128(1)), ..KEEP };
    let steps = recorded(directory.path(), &start, &identity);
    for cut in crash_states(&start, &steps) {
        let path = directory.path().join("disk.img");
        fs::write(&path, &cut).unwrap();
        let other = PartitionIdentity { uuid: Some(Uuid::from_u128(9)), ..KEEP };
        edit(&path, &Durable::new(), 4, &other).unwrap();
        let end = fs::read(&path).unwrap();
        let table = read_image(&end).unwrap();
        assert_eq!(table.agreement, Agreement::Same);
        assert_eq!(table.entries[3].uuid, Uuid::from_u128(9));
        assert_eq!(table.entries[2].uuid, uuid_of_b(&cut));
    }
}
