// SPDX-License-Identifier: MIT OR Apache-2.0

//! What slots hold although its publisher withdrew it: the status tells it, a promotion of it is
//! warned of, and the timer's run takes back what is armed.

use flipside_core::Host;
use flipside_core::host::Slot;
use flipside_core::state::HostState;

use super::Run;
use super::notify::start_timers_run;
use crate::config::Automatic;
use crate::report::status::Withdrawn;
use crate::rules::{Withdrawal, remembered_document, withdrawals};

/// Says in the status which slots hold what was withdrawn.
pub(super) fn note_withdrawn(run: &Run, host_state: &HostState, withdrawals: &[Withdrawal]) {
    let withdrawn = |Withdrawal { slot, reason }: &Withdrawal| Withdrawn {
        slot: *slot,
        version: host_state.slot(*slot).version().to_owned(),
        digest: host_state.slot(*slot).release().and_then(|release| release.digest),
        reason: reason.clone(),
    };
    let withdrawn: Vec<_> = withdrawals.iter().map(withdrawn).collect();
    if run.follow.status().withdrawn != withdrawn {
        run.follow.change(|status| status.withdrawn = withdrawn);
    }
}

/// The same by the policy document that this host remembers, where nobody was asked for a newer one.
pub(super) fn note_remembered(run: &Run) {
    let Ok(source) = run.source() else { return };
    let Some(document) = remembered_document(&run.root, &run.config, source.as_ref()) else {
        return run.follow.change(|status| status.withdrawn.clear());
    };
    let Ok(Some(host)) = Host::open(&run.access()) else { return };
    let Ok(host_state) = host.host_state() else { return };
    note_withdrawn(run, &host_state, &withdrawals(&document, &host_state));
}

/// Warns that what was promoted in `slot` is withdrawn. It runs all the same: the host has to run
/// something.
pub(super) fn warn_of_promoted(run: &Run, slot: Slot) {
    if let Some(withdrawn) = run.follow.status().withdrawn(slot) {
        let Withdrawn { version, reason, .. } = withdrawn;
        tracing::warn!(
            "{version} was promoted in slot {slot} although its publisher withdrew it: {reason}"
        );
    }
}

/// Lets the timer's run be made at once, which takes back what was found to be withdrawn. Where that
/// run installs nothing, this is left to a person.
pub(super) fn let_timer_take_back(run: &Run) {
    if run.config.update.automatic == Automatic::Install {
        start_timers_run(run);
    }
}
