// SPDX-License-Identifier: MIT OR Apache-2.0

//! What can be asked for: each a polkit action and a unit, both fixed.

/// What a method asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Look at the source.
    Check,
    /// Install what the tag points to.
    Update,
    /// Go back to the other slot.
    Rollback,
    /// Reboot into what is installed.
    Reboot,
    /// Pardon what failed and what a rollback left.
    Retry,
}

impl Operation {
    /// All of them, as the methods stand in the interface.
    pub const ALL: [Self; 5] =
        [Self::Check, Self::Update, Self::Rollback, Self::Reboot, Self::Retry];

    /// The method's name.
    pub fn method(self) -> &'static str {
        match self {
            Self::Check => "Check",
            Self::Update => "Update",
            Self::Rollback => "Rollback",
            Self::Reboot => "Reboot",
            Self::Retry => "Retry",
        }
    }

    /// The polkit action that the caller has to be allowed.
    pub fn action(self) -> &'static str {
        match self {
            Self::Check => "org.flipside.updater1.check",
            Self::Update => "org.flipside.updater1.update",
            Self::Rollback => "org.flipside.updater1.rollback",
            Self::Reboot => "org.flipside.updater1.reboot",
            Self::Retry => "org.flipside.updater1.retry",
        }
    }

    /// The unit that does it, as root.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Check => "flipside-check.service",
            Self::Update => "flipside-update-now.service",
            Self::Rollback => "flipside-rollback.service",
            Self::Reboot => "flipside-reboot.service",
            Self::Retry => "flipside-retry.service",
        }
    }
}
