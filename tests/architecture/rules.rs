// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which folder may use which: the table of docs/architecture.md.

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// A folder below `src`, or a module: `core/error` is `src/core/error.rs`. The longest row that
    /// fits a file says what it may use.
    pub place: &'static str,
    /// What it may use besides itself: places of rows, `LEAF`, or `ALL`. A place includes what is
    /// below it.
    pub may: &'static [&'static str],
    /// What it must not name: paths outside of flipside, macros with their `!`, or places inside of
    /// what `may` allows. It also holds for what is below the place.
    pub never: &'static [&'static str],
}

/// Everything.
pub const ALL: &str = "*";
/// The files at core's root that the rest of core stands on.
pub const LEAF: &str = "core's own files";
/// The files that `LEAF` means.
pub const LEAVES: &[&str] = &[
    "core/blob_source",
    "core/cancel",
    "core/codes",
    "core/install_error",
    "core/progress",
    "core/refusal",
    "core/settings",
    "core/slot",
];

/// The network, other programs, printing.
const NOT_IN_CORE: &[&str] =
    &["std::net", "std::process", "println!", "eprintln!", "print!", "eprint!", "dbg!"];
/// Parts of what a row forbids that do nothing by themselves: constants of the compiler, and bytes
/// that are a path.
pub const HARMLESS: &[&str] = &["std::env::consts", "std::os::unix::ffi"];
const INPUT_OUTPUT: &[&str] = &[
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "std::os",
    "rustix",
    "nix",
    "libc",
    // It opens efivarfs, or panics.
    "efivar::system",
];

/// The table. A new folder needs a row here and in docs/architecture.md.
pub const ROWS: &[Row] = &[
    // The crates. A row of a crate's folder also holds for files beside its `lib.rs`.
    Row { place: "image", may: &[], never: INPUT_OUTPUT },
    Row { place: "core", may: &["image"], never: NOT_IN_CORE },
    Row { place: "source", may: &["image", "core"], never: &["zstd", "zstd_safe", "zstd_sys"] },
    Row { place: "publish", may: &["image", "core", "source"], never: &[] },
    // What flipside writes is judged by other decoders than its own.
    Row {
        place: "sim",
        may: &["image"],
        never: &["image/efi", "image/fat", "image/gpt", "efivar", "gpt"],
    },
    // Inside core.
    Row { place: LEAF, may: &["image", LEAF], never: &[] },
    Row { place: "core/host", may: &["image", LEAF], never: &[] },
    Row { place: "core/state", may: &["image", LEAF, "core/host"], never: &[] },
    Row { place: "core/error", may: &["image", LEAF, "core/host", "core/state"], never: &[] },
    Row { place: "core/lock", may: &[LEAF, "core/error", "core/host"], never: &[] },
    Row {
        place: "core/opened",
        may: &["image", LEAF, "core/error", "core/host", "core/state"],
        never: &[],
    },
    Row {
        place: "core/install",
        may: &["image", LEAF, "core/error", "core/lock", "core/host", "core/state", "core/opened"],
        never: &[],
    },
    Row {
        place: "core/trial",
        may: &[
            "image",
            LEAF,
            "core/error",
            "core/lock",
            "core/host",
            "core/state",
            "core/opened",
            "core/install",
        ],
        never: &[],
    },
    // The program.
    Row { place: "main", may: &[ALL], never: &[] },
    Row { place: "lib", may: &[ALL], never: &[] },
    Row { place: "cli", may: &[ALL], never: &[] },
    Row { place: "codes", may: &["image", "core", "source", "publish", "sim"], never: &[] },
    Row { place: "config", may: &["image", "core", "source", "codes"], never: &[] },
    Row { place: "error", may: &["image", "core", "source", "config", "codes"], never: &[] },
    Row { place: "system", may: &["image", "core"], never: &[] },
    Row { place: "report", may: &["image", "core", "system", "codes"], never: &[] },
    Row {
        place: "hooks",
        may: &["image", "core", "source", "config", "system", "codes"],
        never: &[],
    },
    Row {
        place: "health",
        may: &["image", "core", "config", "error", "system", "hooks", "codes"],
        never: &[],
    },
    Row {
        place: "rules",
        may: &["image", "core", "source", "config", "error", "system", "hooks", "codes"],
        never: &["std::process::Command", "zbus"],
    },
    Row {
        place: "reboot",
        may: &["image", "core", "config", "error", "system", "report", "run", "codes"],
        never: &[],
    },
    Row {
        place: "run",
        may: &[
            "image", "core", "source", "config", "error", "system", "report", "hooks", "health",
            "rules", "codes",
        ],
        never: &[],
    },
];

/// Whether a place is this one or below it.
pub fn is_below(place: &str, above: &str) -> bool {
    place.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a place is what a row names.
pub fn names(name: &str, place: &str) -> bool {
    match name {
        ALL => true,
        LEAF => LEAVES.iter().any(|leaf| is_below(place, leaf)),
        _ => is_below(place, name),
    }
}

/// The row that says what a file may use.
pub fn row_of<'a>(rows: &'a [Row], place: &str) -> Option<&'a Row> {
    // `LEAF` stands for files that are one level below core.
    let depth = |row: &&Row| if row.place == LEAF { 2 } else { row.place.matches('/').count() + 1 };
    rows.iter().filter(|row| names(row.place, place)).max_by_key(depth)
}
