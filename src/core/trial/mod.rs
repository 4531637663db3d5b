// SPDX-License-Identifier: MIT OR Apache-2.0

//! After the reboot, and back.
//!
//! - `promote`: the running slot gets its proof and the first place; a trial that fell back is
//!   counted
//! - `rollback`: back to the other slot; `retry`: a failed digest may be tried again
//! - `deadline`, `fail_trial`: a trial that has to end, and has failed (P7)
//! - `armed`, `disarm`: what the next boot was reserved for
//! - `adopt`: a new manifest of what runs
//! - `locked`: the host, opened for a change
//! - `loader`: the removable-media loader, kept up to date

mod adopt;
mod armed;
mod deadline;
mod disarm;
mod fail_trial;
mod loader;
mod locked;
mod promote;
mod retry;
mod rollback;

pub use adopt::adopt;
pub use armed::{Armed, armed};
pub use deadline::{
    ByFirmware, TrialBoot, has_boot_success, has_nowhere_to_go, trial_by_esp, trial_by_firmware,
};
pub use disarm::disarm;
pub use fail_trial::{FailedRun, fail_trial};
pub use promote::{Promotion, promote, record_trial_outcome};
pub use retry::{retry, retry_all};
pub use rollback::{Rollback, rollback};
