// SPDX-License-Identifier: MIT OR Apache-2.0

//! The tables of codes. Each crate has one in its file `codes.rs`, and [`codes!`](crate::codes)
//! makes it. Together they are `docs/errors.md`.

use crate::code::Severity;

/// A section of `docs/errors.md`. The sections stand in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// Settings, the lock, reports: what stops any command.
    Running,
    /// Registries, layouts, archives, update graphs.
    Source,
    /// What an image is made of.
    Image,
    /// Why an update is not made.
    Decision,
    /// Disks, partition tables, slots.
    Disk,
    /// The EFI system partition.
    Esp,
    /// Firmware variables and boot loaders.
    Firmware,
    /// The state directory.
    State,
    /// Reboots, with kexec and without.
    Reboot,
    /// `image`, `disk` and `policy`.
    Publish,
    /// `sim`.
    Sim,
}

impl Area {
    /// Every section, in order.
    pub const ALL: [Self; 11] = [
        Self::Running,
        Self::Source,
        Self::Image,
        Self::Decision,
        Self::Disk,
        Self::Esp,
        Self::Firmware,
        Self::State,
        Self::Reboot,
        Self::Publish,
        Self::Sim,
    ];

    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Running => "Running it",
            Self::Source => "The source",
            Self::Image => "The image",
            Self::Decision => "The decision",
            Self::Disk => "Disk and slots",
            Self::Esp => "ESP",
            Self::Firmware => "Firmware",
            Self::State => "State",
            Self::Reboot => "Reboots",
            Self::Publish => "Making images and disks",
            Self::Sim => "Playing a machine",
        }
    }
}

/// What is known about a code.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// Where it is listed.
    pub(crate) area: Area,
    /// The code as text.
    pub(crate) name: &'static str,
    /// How a command that it ends may end. Empty where it ends none, and only the journal has it.
    pub(crate) severities: &'static [Severity],
    /// The cause and the remedy, with an empty line between them.
    pub(crate) text: &'static str,
}

impl Row {
    /// Only for [`codes!`](crate::codes). `constant` is the name of the code's constant.
    #[doc(hidden)]
    pub const fn new(
        area: Area,
        constant: &str,
        name: &'static str,
        severities: &'static [Severity],
        text: &'static str,
    ) -> Self {
        assert!(is_name_of(name.as_bytes(), constant.as_bytes()), "X_Y has the code \"x-y\"");
        assert!(has_empty_line(text.as_bytes()), "a row has a cause, an empty line and a remedy");
        Self { area, name, severities, text }
    }
}

/// Whether `name` is `constant` in small letters, with `-` for `_`.
const fn is_name_of(name: &[u8], constant: &[u8]) -> bool {
    match (name.split_first(), constant.split_first()) {
        (None, None) => true,
        (Some((b'-', name)), Some((b'_', constant))) => is_name_of(name, constant),
        (Some((small, name)), Some((capital, constant))) => {
            small.is_ascii_lowercase()
                && *small == capital.to_ascii_lowercase()
                && is_name_of(name, constant)
        }
        _ => false,
    }
}

const fn has_empty_line(mut text: &[u8]) -> bool {
    while let [first, rest @ ..] = text {
        if let (b'\n', [b'\n', _, ..]) = (first, rest) {
            return true;
        }
        text = rest;
    }
    false
}

/// Makes a crate's table of codes: a constant for each row, `TABLE` with all of them, and `shared`
/// with those that other crates raise too.
///
/// A row has its cause, an empty line, its remedy, the constant's name, the severities, and the
/// code. It has no severities where only the journal has the code. `pub` puts it into `shared`.
/// The first word names a macro of the calling crate that declares a constant:
///
/// ```
/// mod codes {
///     macro_rules! constant {
///         ($(#[$doc:meta])+ $name:ident = $code:expr) => {
///             $(#[$doc])+
///             pub const $name: flipside_image::code::Code = $code;
///         };
///     }
///     flipside_image::codes! {
///         constant;
///         Esp {
///             /// The ESP has no room for a file.
///             ///
///             /// Remove files that are not needed any more.
///             pub ESP_FULL: Block | Error = "esp-full";
///         }
///     }
/// }
/// assert_eq!(codes::ESP_FULL.name(), "esp-full");
/// assert_eq!(codes::TABLE, [codes::shared::ESP_FULL]);
/// ```
///
/// The constant and the code have to agree:
///
/// ```compile_fail,E0080
/// mod codes {
///     macro_rules! constant {
///         ($(#[$doc:meta])+ $name:ident = $code:expr) => {
///             $(#[$doc])+
///             pub const $name: flipside_image::code::Code = $code;
///         };
///     }
///     flipside_image::codes! {
///         constant;
///         Esp {
///             /// The ESP has no room for a file.
///             ///
///             /// Remove files that are not needed any more.
///             ESP_FULL: Error = "esp-ful";
///         }
///     }
/// }
/// assert_eq!(codes::ESP_FULL.name(), "esp-ful");
/// ```
///
/// rustc finds a row that its own crate does not use, since neither `TABLE` nor `shared` is made of
/// the constants:
///
/// ```compile_fail
/// #![deny(dead_code)]
/// mod codes {
///     macro_rules! constant {
///         ($(#[$doc:meta])+ $name:ident = $code:expr) => {
///             $(#[$doc])+
///             pub const $name: flipside_image::code::Code = $code;
///         };
///     }
///     flipside_image::codes! {
///         constant;
///         Esp {
///             /// The ESP has no room for a file.
///             ///
///             /// Remove files that are not needed any more.
///             pub ESP_FULL: Block | Error = "esp-full";
///         }
///     }
/// }
/// assert_eq!(codes::TABLE, [codes::shared::ESP_FULL]);
/// ```
#[macro_export]
macro_rules! codes {
    ($constant:ident; $($area:ident {
        $($(#[doc = $line:literal])+ $vis:vis $name:ident $(: $($severity:ident)|+)? = $code:literal;)+
    })+) => {
        mod rows {
            use $crate::code::Severity;
            use $crate::code::table::{Area, Row};

            $($(pub(super) static $name: Row = Row::new(
                Area::$area,
                stringify!($name),
                $code,
                &[$($(Severity::$severity),+)?],
                concat!($($line, "\n"),+),
            );)+)+
        }

        $($(
            $constant! { $(#[doc = $line])+ $name = $crate::code::Code::of(&rows::$name) }
        )+)+

        /// The codes that other crates raise too.
        #[allow(dead_code)]
        pub mod shared {
            $($(
                $(#[doc = $line])+
                $vis const $name: $crate::code::Code = $crate::code::Code::of(&super::rows::$name);
            )+)+
        }

        /// Every code of this crate.
        pub const TABLE: &[$crate::code::Code] =
            &[$($($crate::code::Code::of(&rows::$name)),+),+];
    };
}
