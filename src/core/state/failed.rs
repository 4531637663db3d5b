// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which digests are not to be tried by themselves (P7): those that failed, and the one
//! that a rollback left. Kept on the ESP, since the state directory is no authority.

use serde::{Deserialize, Serialize};

use flipside_image::unknown_fields::{Extensible, UnknownFields};
use flipside_image::{ContentId, Digest};

use crate::host::esp::SMALL_FILE_LIMIT;

/// How many digests are remembered. The oldest makes room: the file has to stay small.
const LIMIT: usize = 32;

/// `EFI/flipside/failed.json`. Both slots' flipsides write it: fields that one of them does not know
/// are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FailedDigests {
    /// Trials that did not end well, oldest first.
    #[serde(default)]
    pub trials: Vec<Extensible<FailedTrial>>,
    /// The digest that a rollback left: the timer does not bring it back until the tag names other
    /// content or an operator allows a retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_by_rollback: Option<Digest>,
    /// The digest of a proven slot that was armed, because the tag or a person went back to
    /// it. It tells promote, on the other side, that being there is no accident of the firmware.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returning_to: Option<Digest>,
    /// The digest in the other slot, where that was not armed since it was installed, disarmed or
    /// dealt with: without a journal it is no trial that fell back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unarmed: Option<Digest>,
    /// That the firmware forgot what was armed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forgotten: Option<ForgottenTrials>,
    /// What another flipside added.
    #[serde(skip)]
    pub unknown: UnknownFields,
}

/// Trials that the firmware forgot, with all else that flipside told it, before they could start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgottenTrials {
    /// The image of the last one.
    pub digest: Digest,
    /// Its version, for people.
    pub version: String,
    /// How many, since a trial succeeded.
    pub count: u32,
    /// Whether that was enough: this firmware keeps nothing.
    pub refused: bool,
    /// The arming that was counted last, so that none counts twice.
    pub arming: String,
}

/// One digest whose trials fell back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedTrial {
    /// The image.
    pub digest: Digest,
    /// Its version, for people.
    pub version: String,
    /// How many trials were started and never promoted.
    pub attempts: u32,
    /// Whether that was enough.
    pub failed: bool,
    /// Why, in a sentence.
    pub reason: String,
    /// The arming that was counted last, so that none counts twice.
    pub arming: String,
    /// What it holds: that is not tried under another digest either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_id: Option<ContentId>,
}

impl FailedDigests {
    /// Reads the file's contents.
    ///
    /// # Errors
    /// Where they are not such a document.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let Extensible { known, unknown } = serde_json::from_slice::<Extensible<Self>>(bytes)?;
        Ok(Self { unknown, ..known })
    }

    /// The file's contents. Where they would be longer than is read again, they are without what
    /// another flipside added: P7 counts for more.
    ///
    /// # Errors
    /// None for values of this type.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut document = Extensible { known: self.clone(), unknown: self.unknown.clone() };
        let bytes = serde_json::to_vec_pretty(&document)?;
        if bytes.len() as u64 <= SMALL_FILE_LIMIT {
            return Ok(bytes);
        }
        document.unknown.clear();
        document.trials.iter_mut().for_each(|trial| trial.unknown.clear());
        serde_json::to_vec_pretty(&document)
    }

    /// What is known of `digest`.
    pub fn trial(&self, digest: &Digest) -> Option<&FailedTrial> {
        self.trials.iter().map(|trial| &trial.known).find(|t| t.digest == *digest)
    }

    /// Whether `digest` must not be tried by itself any more.
    pub fn has_failed(&self, digest: &Digest) -> bool {
        self.trial(digest).is_some_and(|t| t.failed)
    }

    /// The digest that failed with this content, where there is one.
    pub fn failed_with(&self, content: ContentId) -> Option<Digest> {
        let mut failed = self.trials.iter().filter(|trial| trial.failed);
        failed.find(|trial| trial.content_id == Some(content)).map(|trial| trial.digest)
    }

    /// Counts a trial that fell back, of `digest`, which holds `content`, as [`FailedDigests::count`]
    /// does: together with those of other manifests of that content.
    pub fn count_content(
        &mut self,
        digest: Digest,
        version: &str,
        content: Option<ContentId>,
        arming: &str,
        limit: u32,
    ) {
        self.inherit(digest, version, content);
        self.count(digest, version, arming, limit);
        self.set_content(&digest, content);
    }

    /// Goes on for `digest` with what was counted for another manifest of its `content`: to push that
    /// again gives it no more trials.
    fn inherit(&mut self, digest: Digest, version: &str, content: Option<ContentId>) {
        let is_known = content.is_none() || self.trial(&digest).is_some();
        let mut others = self.trials.iter_mut().filter(|_| !is_known);
        if let Some(trial) = others.find(|trial| !trial.failed && trial.content_id == content) {
            (trial.digest, trial.version) = (digest, version.to_owned());
        }
    }

    /// Notes what `digest` holds, if its trials are counted.
    pub fn set_content(&mut self, digest: &Digest, content: Option<ContentId>) {
        if let Some(trial) = self.trials.iter_mut().find(|trial| trial.digest == *digest) {
            trial.content_id = content.or(trial.content_id);
        }
    }

    /// Counts a trial of `digest` that fell back, once per `arming`; from `limit` of them
    /// on the digest has failed. Returns whether anything changed.
    pub fn count(&mut self, digest: Digest, version: &str, arming: &str, limit: u32) -> bool {
        let known = self.trials.iter().position(|t| t.digest == digest);
        let mut trial = match known {
            Some(at) => self.trials.remove(at),
            None => FailedTrial {
                digest,
                version: version.to_owned(),
                attempts: 0,
                failed: false,
                reason: String::new(),
                arming: String::new(),
                content_id: None,
            }
            .into(),
        };
        let is_new = trial.arming != arming || trial.attempts == 0;
        if trial.failed {
            // At once, by a health check or the deadline, which said more than this can.
            trial.arming = arming.to_owned();
        } else if is_new {
            trial.attempts = trial.attempts.saturating_add(1);
            trial.arming = arming.to_owned();
            trial.failed |= trial.attempts >= limit;
            trial.reason = match trial.attempts {
                1 => "1 trial was started and never promoted".to_owned(),
                n => format!("{n} trials were started and never promoted"),
            };
        }
        self.trials.push(trial);
        if self.trials.len() > LIMIT {
            self.trials.remove(0);
        }
        is_new
    }

    /// Counts a trial of `digest` that the firmware forgot, once per `arming`; from `limit` of them
    /// on the firmware counts as one that keeps nothing.
    pub fn count_forgotten(&mut self, digest: Digest, version: &str, arming: &str, limit: u32) {
        let before = self.forgotten.as_ref();
        if before.is_some_and(|f| f.digest == digest && f.arming == arming) {
            return;
        }
        let count = before.map_or(0, |f| f.count).saturating_add(1);
        self.forgotten = Some(ForgottenTrials {
            digest,
            version: version.to_owned(),
            count,
            refused: count >= limit,
            arming: arming.to_owned(),
        });
    }

    /// Lets `digest` count as failed from now on, whatever the number of its trials: in the boot
    /// `boot_id`. Returns whether anything changed.
    pub fn fail(&mut self, digest: Digest, version: &str, reason: &str, boot_id: &str) -> bool {
        if self.has_failed(&digest) {
            return false;
        }
        // No arming's name: the old slot has yet to tell that it was fallen back to.
        self.count(digest, version, boot_id, 1);
        if let Some(trial) = self.trials.last_mut() {
            (trial.failed, trial.reason) = (true, reason.to_owned());
        }
        true
    }

    /// Every digest that failed, the one that a rollback left, and the one whose trials were forgotten.
    pub fn refused(&self) -> impl Iterator<Item = Digest> {
        let failed = self.trials.iter().map(|trial| trial.digest);
        let forgotten = self.forgotten.as_ref().filter(|f| f.refused).map(|f| f.digest);
        let left = self.left_by_rollback.filter(|left| Some(*left) != forgotten);
        let others = left.into_iter().chain(forgotten);
        failed.chain(others.filter(|other| self.trial(other).is_none()))
    }

    /// Forgets every digest that failed, and the one that a rollback left, and what the firmware forgot.
    /// Returns them.
    pub fn retry_all(&mut self) -> Vec<Digest> {
        let retried = self.refused().collect();
        self.trials.clear();
        (self.left_by_rollback, self.forgotten) = (None, None);
        retried
    }

    /// Forgets `digest`, as failed and as left by a rollback, and what else had its content, and that its
    /// trials were forgotten. Returns whether there was anything to forget.
    pub fn retry(&mut self, digest: &Digest) -> bool {
        let before = self.clone();
        let content = self.trial(digest).and_then(|trial| trial.content_id);
        let is_it = |t: &FailedTrial| content.is_some() && t.content_id == content;
        self.trials.retain(|trial| trial.digest != *digest && !is_it(trial));
        self.left_by_rollback.take_if(|left| left == digest);
        self.forgotten.take_if(|forgotten| forgotten.digest == *digest);
        *self != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p7_a_digest_fails_with_its_last_attempt() {
        let digest = Digest::of(b"v2");
        let mut failed = FailedDigests::default();
        assert!(failed.count(digest, "2", "boot 1", 2));
        assert!(!failed.has_failed(&digest));
        assert!(failed.count(digest, "2", "boot 2", 2));
        assert!(failed.has_failed(&digest));
        assert_eq!(failed.trial(&digest).unwrap().attempts, 2);
        assert!(failed.retry(&digest));
        assert!(!failed.has_failed(&digest));
        assert!(!failed.retry(&digest));
    }

    #[test]
    fn p7_one_arming_counts_once() {
        let digest = Digest::of(b"v2");
        let mut failed = FailedDigests::default();
        assert!(failed.count(digest, "2", "", 2));
        assert!(!failed.count(digest, "2", "", 2));
        assert!(!failed.has_failed(&digest));
    }

    #[test]
    fn p7_a_digest_that_failed_at_once_keeps_its_reason() {
        let digest = Digest::of(b"v2");
        let mut failed = FailedDigests::default();
        failed.count(digest, "2", "boot 1", 3);
        assert!(failed.fail(digest, "2", "the deadline passed", "boot 1b"));
        assert!(!failed.fail(digest, "2", "another reason", "boot 1b"));
        // The old slot comes to see it as a trial that fell back, once.
        assert!(failed.count(digest, "2", "boot 2", 3));
        assert!(!failed.count(digest, "2", "boot 2", 3));
        let trial = failed.trial(&digest).unwrap();
        assert_eq!((trial.attempts, trial.reason.as_str()), (2, "the deadline passed"));
        assert!(trial.failed);
    }

    #[test]
    fn forgotten_trials_count_once_per_arming_whatever_was_to_be_tried() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let mut failed = FailedDigests::default();
        for (digest, arming, count, refused) in
            [(one, "x", 1, false), (one, "x", 1, false), (two, "y", 2, true), (two, "z", 3, true)]
        {
            failed.count_forgotten(digest, "1", arming, 2);
            let forgotten = failed.forgotten.clone().unwrap();
            assert_eq!((forgotten.count, forgotten.refused), (count, refused), "{arming}");
        }
        assert!(!failed.has_failed(&one) && !failed.has_failed(&two));
        assert!(!failed.retry(&one));
        assert_eq!(failed.refused().collect::<Vec<_>>(), [two]);
        assert!(failed.retry(&two));
        assert_eq!(failed, FailedDigests::default());
    }

    #[test]
    fn everything_is_released_at_once() {
        let (one, two, left) = (Digest::of(b"1"), Digest::of(b"2"), Digest::of(b"3"));
        let mut failed = FailedDigests { left_by_rollback: Some(left), ..FailedDigests::default() };
        failed.count(one, "1", "x", 1);
        failed.count(two, "2", "x", 2);
        assert_eq!(failed.retry_all(), [one, two, left]);
        assert_eq!(failed, FailedDigests::default());
        assert_eq!(failed.retry_all(), []);
    }

    #[test]
    fn p7_a_retry_is_for_all_that_has_the_content() {
        let chunk_size = flipside_image::ChunkSize::new(1).unwrap();
        let (name, chunks) = ("system".parse().unwrap(), Vec::new());
        let empty = flipside_image::Payload {
            name,
            size: 0,
            chunk_size,
            chunks,
            frames: None,
            partition: None,
        };
        let contents = [ContentId::of([].iter()), ContentId::of([empty].iter())];
        let digests = [1, 2, 3, 4].map(|n| Digest::of(&[n]));
        let mut failed = FailedDigests::default();
        for (digest, content) in
            digests.iter().zip([Some(contents[0]), Some(contents[0]), Some(contents[1]), None])
        {
            failed.count(*digest, "1", "x", 1);
            failed.set_content(digest, content);
        }
        let known = FailedDigests::parse(&failed.to_bytes().unwrap()).unwrap();
        assert_eq!(known, failed);
        assert_eq!(failed.failed_with(contents[1]), Some(digests[2]));
        assert!(failed.retry(&digests[0]));
        assert_eq!(failed.refused().collect::<Vec<_>>(), digests[2..]);
        assert_eq!(failed.failed_with(contents[0]), None);
        // What has none is like nothing else.
        assert!(failed.retry(&digests[3]));
        assert!(failed.has_failed(&digests[2]));
    }

    #[test]
    fn p7_other_manifests_of_the_same_content_share_its_trials() {
        let content = Some(ContentId::of([].iter()));
        let (one, two, other) = (Digest::of(b"1"), Digest::of(b"2"), Digest::of(b"3"));
        let mut failed = FailedDigests::default();
        for (digest, content, arming, is_failed) in [
            (one, content, "a", false),
            // Nobody knows what it holds.
            (other, None, "b", false),
            (two, content, "c", true),
        ] {
            failed.count_content(digest, "2", content, arming, 2);
            assert_eq!(failed.has_failed(&digest), is_failed, "{arming}");
        }
        assert_eq!(failed.trials.len(), 2);
        assert_eq!(failed.trial(&two).unwrap().attempts, 2);
    }

    /// Of a later flipside, by fields that do not exist.
    const LATER: &str = r#"{
        "trials": [{"digest": "DIGEST", "version": "2", "attempts": 1, "failed": false,
                    "reason": "", "arming": "a", "boots": [1, {"x": 0.10}]}],
        "left_by_rollback": null, "quarantine": {"digest": "DIGEST", "since": 12345678901234567890}
    }"#;

    fn later() -> (Digest, FailedDigests) {
        let digest = Digest::of(b"v2");
        let text = LATER.replace("DIGEST", &digest.to_string());
        (digest, FailedDigests::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn what_a_later_flipside_added_is_kept_when_an_older_one_rewrites_the_file() {
        let (digest, mut failed) = later();
        failed.count(digest, "2", "b", 2);
        failed.count(Digest::of(b"v3"), "3", "c", 2);
        failed.left_by_rollback = Some(digest);
        let text = String::from_utf8(failed.to_bytes().unwrap()).unwrap();
        for kept in [r#""boots": [1, {"x": 0.10}]"#, r#""since": 12345678901234567890"#] {
            assert!(text.contains(kept), "{text}");
        }
        assert_eq!(text.matches(r#""left_by_rollback""#).count(), 1, "{text}");
        assert_eq!(FailedDigests::parse(text.as_bytes()).unwrap(), failed);
        // What belongs to a digest goes with it, the rest stays.
        failed.retry_all();
        let text = String::from_utf8(failed.to_bytes().unwrap()).unwrap();
        assert!(!text.contains("boots") && text.contains("quarantine"), "{text}");
    }

    #[test]
    fn p7_what_a_later_flipside_added_makes_the_file_no_longer_than_is_read() {
        let long = format!(r#"{{"more": "{}"}}"#, "x".repeat(65_000));
        let mut failed = FailedDigests::parse(long.as_bytes()).unwrap();
        assert!(failed.to_bytes().unwrap().len() > 65_000);
        for n in 0..8_u8 {
            failed.count(Digest::of(&[n]), "1", "x", 1);
        }
        let bytes = failed.to_bytes().unwrap();
        assert!(bytes.len() < 8 << 10, "{}", bytes.len());
        assert!(FailedDigests::parse(&bytes).unwrap().has_failed(&Digest::of(&[7])));
    }

    #[test]
    fn the_file_stays_small_and_survives_the_round_trip() {
        let mut failed = FailedDigests::default();
        for n in 0..100_u8 {
            failed.count(Digest::of(&[n]), "1", "x", 1);
        }
        assert_eq!(failed.trials.len(), LIMIT);
        assert!(failed.has_failed(&Digest::of(&[99])));
        failed.left_by_rollback = Some(Digest::of(b"left"));
        let bytes = failed.to_bytes().unwrap();
        assert!(bytes.len() < 32 << 10);
        assert_eq!(FailedDigests::parse(&bytes).unwrap(), failed);
    }
}
