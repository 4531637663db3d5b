// SPDX-License-Identifier: MIT OR Apache-2.0

//! The labels that a disk has where the slots' labels are missing.

use strsim::levenshtein;

use super::Disk;
use crate::host::error::HostError;
use crate::host::partition::Partition;
use crate::settings::HostConfig;
use crate::slot::Slot;

/// As many labels as one sentence bears.
const MOST: usize = 4;

impl Disk {
    /// Whether any slot's label is here.
    pub(crate) fn has_slots(&self, config: &HostConfig) -> bool {
        let is_here = |slot| self.partitions().iter().any(|p| p.label == config.slots.of(slot));
        Slot::BOTH.into_iter().any(is_here)
    }

    /// The partition whose label is a slot's but for upper and lower case.
    pub(crate) fn slot_in_other_case(&self, config: &HostConfig) -> Option<&Partition> {
        let is_alike = |label: &str| {
            let is_label = |slot| fold(config.slots.of(slot)) == fold(label);
            Slot::BOTH.into_iter().any(is_label)
        };
        self.partitions().iter().find(|partition| is_alike(&partition.label))
    }

    /// `slot-missing`: neither slot is here, although `sign` says that this is a host.
    pub(crate) fn slots_missing(&self, config: &HostConfig, sign: &str) -> HostError {
        let labels = Slot::BOTH.map(|slot| config.slots.of(slot));
        HostError::SlotMissing {
            disk: self.path().to_owned(),
            label: labels.join(" or "),
            seen: format!(", although {sign}{}", self.nearest_labels(&labels)),
        }
    }

    /// What the disk has that comes nearest to one of `labels`, as the end of a sentence.
    pub(super) fn nearest_labels(&self, labels: &[&str]) -> String {
        let distance = |partition: &Partition| {
            labels.iter().map(|label| levenshtein(&fold(label), &fold(&partition.label))).min()
        };
        let mut labelled: Vec<&Partition> =
            self.partitions().iter().filter(|partition| !partition.label.is_empty()).collect();
        // Stable: what is as near stays in the order of the numbers.
        labelled.sort_by_key(|partition| distance(partition));
        labelled.truncate(MOST);
        let told = |partition: &&Partition| {
            format!("{} (partition {})", partition.label, partition.number)
        };
        let told: Vec<String> = labelled.iter().map(told).collect();
        match told.as_slice() {
            [] => "; none of its partitions has a label".to_owned(),
            [one] => format!("; its only label is {one}"),
            several => format!("; the nearest labels there are {}", several.join(", ")),
        }
    }
}

fn fold(label: &str) -> String {
    label.to_lowercase()
}
