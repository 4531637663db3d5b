// SPDX-License-Identifier: MIT OR Apache-2.0

//! `org.flipside.Updater1`. What is said here is part of the introspection.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use zbus::message::{Flags, Header};
use zbus::{Connection, OwnedObjectPath};

use super::Operation;
use super::call_error::CallError;
use super::callers::{self, Callers};
use super::document::Document;
use super::polkit;
use super::properties::{
    self, Dict, microseconds, microseconds_or_zero, text, text_or_empty, word,
};

/// How long systemd has to queue a job.
const START: Duration = Duration::from_secs(25);

/// What the object is made of. The document is behind a lock of its own: a call that waits for
/// somebody's password holds the object, and must not hold up what changes meanwhile.
#[derive(Debug)]
pub struct Updater {
    document: RwLock<Arc<Document>>,
    /// Calls that wait for polkit or systemd.
    waiting: Callers,
}

impl Updater {
    /// Serves `document` first.
    pub fn new(document: Document) -> Self {
        Self { document: RwLock::new(Arc::new(document)), waiting: Callers::default() }
    }

    /// What is served now.
    pub fn document(&self) -> Arc<Document> {
        Arc::clone(&self.document.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Serves `document` from here on.
    pub fn replace(&self, document: Document) {
        *self.document.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(document);
    }

    /// Whether somebody waits for an answer.
    pub fn is_waited_for(&self) -> bool {
        self.waiting.is_any()
    }

    async fn run(
        &self,
        connection: &Connection,
        call: &Header<'_>,
        operation: Operation,
    ) -> Result<OwnedObjectPath, CallError> {
        // The bus itself says who sent it: no peer can choose its unique name.
        let caller = call.sender().ok_or(CallError::AccessDenied(operation))?.to_string();
        let left = |_| CallError::CallerLeft(operation);
        let user = callers::user_of(connection, &caller).await.map_err(left)?;
        let _place = self.waiting.enter(user).ok_or(CallError::TooMany(operation))?;
        let question = polkit::Question::new(&caller, may_interact(call), operation);
        tokio::select! {
            allowed = question.ask(connection) => allowed?,
            Ok(()) = callers::departure(connection, &caller) => {
                question.cancel(connection).await;
                return Err(CallError::CallerLeft(operation));
            }
        }
        let job = start(connection, operation).await?;
        tracing::info!("{} was asked for: started {}", operation.method(), operation.unit());
        Ok(job)
    }
}

/// Whether the caller allows that somebody is asked for a password.
fn may_interact(call: &Header<'_>) -> bool {
    call.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH)
}

/// Lets systemd start the unit; the job's object. Mode `fail`: what is asked for here must not cancel
/// a shutdown that is under way.
async fn start(
    connection: &Connection,
    operation: Operation,
) -> Result<OwnedObjectPath, CallError> {
    let failed = |why: String| CallError::NotStarted(operation, why);
    let arguments = (operation.unit(), "fail");
    let call = connection.call_method(
        Some("org.freedesktop.systemd1"),
        "/org/freedesktop/systemd1",
        Some("org.freedesktop.systemd1.Manager"),
        "StartUnit",
        &arguments,
    );
    match tokio::time::timeout(START, call).await {
        Ok(Ok(reply)) => reply.body().deserialize().map_err(|error| failed(error.to_string())),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed("it does not answer".to_owned())),
    }
}

/// A/B updates of this host. Everything here is what the last run of flipside said in its status
/// document, and follows it live. Strings without a value are empty, times without one are 0,
/// and keys without one are not in their dictionary. Times are microseconds since 1970 in UTC.
#[zbus::interface(name = "org.flipside.Updater1")]
impl Updater {
    /// Looks whether there is an update. Starts flipside-check.service and returns systemd's job for
    /// it, whose end is told by JobRemoved of org.freedesktop.systemd1.Manager; what came of it is in
    /// LastCheckResult and LastError. polkit action: org.flipside.updater1.check.
    #[zbus(out_args("job"))]
    async fn check(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] call: Header<'_>,
    ) -> Result<OwnedObjectPath, CallError> {
        self.run(connection, &call, Operation::Check).await
    }

    /// Installs the update that the followed tag points to and lets it boot once at the next reboot.
    /// Starts flipside-update-now.service and returns systemd's job for it; Progress follows the run.
    /// polkit action: org.flipside.updater1.update.
    #[zbus(out_args("job"))]
    async fn update(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] call: Header<'_>,
    ) -> Result<OwnedObjectPath, CallError> {
        self.run(connection, &call, Operation::Update).await
    }

    /// Goes back to the system in the other slot at the next reboot. Starts flipside-rollback.service
    /// and returns systemd's job for it. polkit action: org.flipside.updater1.rollback.
    #[zbus(out_args("job"))]
    async fn rollback(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] call: Header<'_>,
    ) -> Result<OwnedObjectPath, CallError> {
        self.run(connection, &call, Operation::Rollback).await
    }

    /// Reboots into what is installed, as the host's settings say it. Starts flipside-reboot.service
    /// and returns systemd's job for it. polkit action: org.flipside.updater1.reboot.
    #[zbus(out_args("job"))]
    async fn reboot(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] call: Header<'_>,
    ) -> Result<OwnedObjectPath, CallError> {
        self.run(connection, &call, Operation::Reboot).await
    }

    /// Lets what failed, and what a rollback left, be installed again. Starts
    /// flipside-retry.service and returns systemd's job for it. polkit action:
    /// org.flipside.updater1.retry.
    #[zbus(out_args("job"))]
    async fn retry(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] call: Header<'_>,
    ) -> Result<OwnedObjectPath, CallError> {
        self.run(connection, &call, Operation::Retry).await
    }

    /// Version of flipside.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    /// Where the host stands between two systems: idle, writing, installed, armed,
    /// rolling-back, trial, fell-back or unknown. It is unknown until the first run since the boot.
    #[zbus(property)]
    fn state(&self) -> String {
        word(&self.document().status.state)
    }

    /// The image reference that is followed.
    #[zbus(property)]
    fn follows(&self) -> String {
        text_or_empty(self.document().status.follows.as_ref())
    }

    /// The running slot: a or b; empty where it cannot be told.
    #[zbus(property)]
    fn running_slot(&self) -> String {
        self.document().status.running.slot.map(|slot| word(&slot)).unwrap_or_default()
    }

    /// Why the running slot cannot be told, or the status document cannot be read: a stable code, and
    /// a sentence.
    #[zbus(property)]
    fn problem(&self) -> (String, String) {
        let document = self.document();
        let problem = document.status.running.problem.as_ref();
        problem.map(|p| (text(&p.code), text(&p.message))).unwrap_or_default()
    }

    /// Slot A, then slot B; none on a machine that is no flipside host. Keys: slot (s), running (b),
    /// version (s), digest (s), state (s: empty, writing, installed, superseded, armed, trial, proven,
    /// failed or unknown), since (t), boot_file (s: absent, unbootable, bootable or unknown), loader_entry (b),
    /// boot_entry (s).
    #[zbus(property)]
    fn slots(&self) -> Vec<Dict> {
        properties::slots(&self.document().status)
    }

    /// Version of the update on offer.
    #[zbus(property)]
    fn available_version(&self) -> String {
        let document = self.document();
        let available = document.status.available.as_ref();
        text_or_empty(available.and_then(|available| available.version.as_ref()))
    }

    /// Digest of the update on offer; empty where there is none.
    #[zbus(property)]
    fn available_digest(&self) -> String {
        text_or_empty(self.document().status.available.as_ref().map(|a| &a.digest))
    }

    /// What the update on offer costs: how many bytes are fetched, how many would be without what this
    /// host has of it, and the version that a delta is from. 0, 0 and empty where that is not known.
    #[zbus(property)]
    fn available_download(&self) -> (u64, u64, String) {
        let document = self.document();
        let available = document.status.available.as_ref();
        let Some(download) = available.and_then(|available| available.download.as_ref()) else {
            return Default::default();
        };
        (download.bytes, download.full, text_or_empty(download.delta_from.as_ref()))
    }

    /// Why the update on offer is not made: severity (defer: tried again by itself, block: until
    /// something changes, or error), a stable code, a sentence, and since when.
    #[zbus(property)]
    fn blocked(&self) -> (String, String, String, u64) {
        let document = self.document();
        let Some(blocked) = &document.status.blocked else { return Default::default() };
        let since = microseconds_or_zero(blocked.since);
        (word(&blocked.severity), text(&blocked.code), text(&blocked.message), since)
    }

    /// When the source was last asked.
    #[zbus(property, name = "LastCheckUSec")]
    fn last_check_usec(&self) -> u64 {
        microseconds_or_zero(self.document().status.last_check.as_ref().map(|check| check.time))
    }

    /// What that came to: up-to-date, available or failed.
    #[zbus(property)]
    fn last_check_result(&self) -> String {
        let document = self.document();
        document.status.last_check.as_ref().map(|check| word(&check.result)).unwrap_or_default()
    }

    /// When the timer asks again.
    #[zbus(property, name = "NextCheckUSec")]
    fn next_check_usec(&self) -> u64 {
        microseconds_or_zero(self.document().status.next_check)
    }

    /// The last error, until a run succeeds: a stable code, a sentence, and when.
    #[zbus(property)]
    fn last_error(&self) -> (String, String, u64) {
        let document = self.document();
        let Some(error) = &document.status.last_error else { return Default::default() };
        (text(&error.code), text(&error.message), microseconds(error.time))
    }

    /// What the last rollback, retry, reboot, promote or health check met, until the same one succeeds:
    /// the command, severity (defer, block or error), a stable code, a sentence, and when.
    #[zbus(property)]
    fn last_command(&self) -> (String, String, String, String, u64) {
        let document = self.document();
        let Some(last) = &document.status.last_command else { return Default::default() };
        let (severity, time) = (word(&last.severity), microseconds(last.time));
        (text(&last.command), severity, text(&last.code), text(&last.message), time)
    }

    /// What is not tried again by itself. Keys: digest (s), version (s), reason (s), attempts (u).
    #[zbus(property)]
    fn failed(&self) -> Vec<Dict> {
        properties::failed(&self.document().status)
    }

    /// Digest of what a rollback left: not installed again until the tag names other content or Retry is called.
    #[zbus(property)]
    fn left_by_rollback(&self) -> String {
        text_or_empty(self.document().status.left_by_rollback.as_ref())
    }

    /// What slots hold although its publisher withdrew it: a reboot into it is to be avoided, and
    /// Update takes it back where it boots next. Keys: slot (s), version (s), digest (s), reason (s).
    #[zbus(property)]
    fn withdrawn(&self) -> Vec<Dict> {
        properties::withdrawn(&self.document().status)
    }

    /// The firmware's boot order, first to last. Keys: number (s), description (s), what (s: slot-a,
    /// slot-b, removable, foreign or missing), active (b).
    #[zbus(property)]
    fn boot_order(&self) -> Vec<Dict> {
        properties::boot_order(&self.document().status)
    }

    /// The entry that boots once at the next boot: four hex digits.
    #[zbus(property)]
    fn boot_next(&self) -> String {
        text_or_empty(self.document().status.boot_next.as_ref())
    }

    /// Whether the firmware asks for signatures of boot files: on, setup (setup mode) or off; empty where
    /// it says nothing about that.
    #[zbus(property)]
    fn secure_boot(&self) -> String {
        text_or_empty(self.document().status.secure_boot.as_ref())
    }

    /// Whether a reboot is needed for what is installed to run, or to be tried after kexec.
    #[zbus(property)]
    fn reboot_required(&self) -> bool {
        self.document().status.reboot_required
    }

    /// How far the present run is: its phase (checking, hooks, fetching, comparing, writing,
    /// reading-back or arming; empty while none runs), the payload that it is at, and how many bytes of how many the
    /// phase has done (0 of 0 where bytes are no measure of it). Changes at most five times a second.
    #[zbus(property)]
    fn progress(&self) -> (String, String, u64, u64) {
        properties::progress(&self.document().status)
    }

    /// When the document was written; 0 where there is none. Only its invalidation is signalled.
    #[zbus(property(emits_changed_signal = "invalidates"), name = "TimeUSec")]
    fn time_usec(&self) -> u64 {
        microseconds(self.document().status.time)
    }

    /// The whole status document, as flipside status prints it with its option json; empty where
    /// there is none. Only its invalidation is signalled.
    #[zbus(property(emits_changed_signal = "invalidates"))]
    fn status_json(&self) -> String {
        self.document().text.clone().unwrap_or_default()
    }
}
