// SPDX-License-Identifier: MIT OR Apache-2.0

//! A small tree with all folders, in a temporary directory. It keeps every rule.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::rules::ROWS;
use crate::{check, circles, resolve};

/// Removed when it is dropped.
pub struct ExampleTree {
    pub root: PathBuf,
}

/// Names that look like imports, where nothing is imported.
const NO_IMPORTS: &str = r##"
// use crate::publish::Image; eprintln!("a");
/* use flipside_publish::Image; /* println!() */ use crate::cli::main; */
//! use flipside_publish::Image;
/// [`flipside_publish::Image`]
pub fn text<'a>(of: &'a str) -> String {
    let _ = ('"', '\'', b'"', "\" use crate::cli::main; println!()", "http://x");
    let _ = r#"std::fs::write("use crate::cli::main")"#;
    of.replace("flipside_publish::Image", "zbus::Connection")
}
#[cfg(test)]
use std::fs::{read, write};
#[cfg(any(test, feature = "testing"))]
pub fn for_tests<A, B>() { flipside_publish::image(); println!("a"); }
#[cfg(test)]
mod only_tests;
pub struct Pair {
    #[cfg(test)]
    pub a: flipside_publish::Image,
    pub b: u8,
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::main;
    #[test]
    fn t() { flipside_publish::image(); dbg!(zbus::a()); std::fs::write("}", "{"); }
}
"##;

/// Test files may import anything.
const TEST_FILE: &str =
    "use flipside_publish::Image; use crate::cli::main; pub fn t() { dbg!(1); }";

const FILES: &[(&str, &str)] = &[
    (
        "src/image/lib.rs",
        "pub mod efi; pub mod fat; pub mod gpt; pub mod manifest; mod text; pub use manifest::Manifest;",
    ),
    ("src/image/efi/mod.rs", "pub mod text; pub struct LoadOption;"),
    ("src/image/efi/text.rs", "pub fn decode() {}"),
    ("src/image/fat.rs", "pub struct BootSector;"),
    ("src/image/gpt/mod.rs", "pub struct Header;"),
    ("src/image/manifest.rs", "use super::text; pub struct Manifest; use std::fmt;"),
    (
        "src/core/lib.rs",
        "pub mod host; pub mod state; pub mod install; pub mod trial; \
      pub mod settings; mod error; mod lock; mod opened; pub use host::disk::Disk; \
      pub use error::Error; pub use lock::Lock; pub use opened::Host;",
    ),
    ("src/core/settings.rs", "use flipside_image::Manifest; pub struct Settings;"),
    ("src/core/error.rs", "use crate::{state::HostState, host::Disk}; pub enum Error {}"),
    ("src/core/lock.rs", "use crate::{error::Error, settings::Settings}; pub struct Lock;"),
    (
        "src/core/opened.rs",
        "use crate::{error::Error, host::Disk, settings, state::HostState}; pub struct Host;",
    ),
    (
        "src/core/host/mod.rs",
        "mod disk; mod gpt; pub use disk::Disk; use crate::settings::Settings;",
    ),
    (
        "src/core/host/disk.rs",
        "use super::gpt::{self, Table}; pub struct Disk; \
      fn f() { tracing::info!(\"a\"); assert!(1 != 2); }",
    ),
    ("src/core/host/gpt.rs", "use super::Gpt; pub struct Table;"),
    ("src/core/state/mod.rs", "use crate::host::Disk; pub struct HostState;"),
    (
        "src/core/install/mod.rs",
        "use crate::{host, opened::Host, state::HostState}; pub struct Plan; \
      fn f(_: host::Disk) {}",
    ),
    (
        "src/core/trial/mod.rs",
        "use crate::install::Plan as InstallPlan; use crate::{Host, lock::Lock}; \
      pub fn promote() {}",
    ),
    ("src/source/lib.rs", "use flipside_core::settings::Settings; pub struct Source;"),
    (
        "src/publish/lib.rs",
        "use flipside_source::Source; use flipside_core::install; pub struct Image;",
    ),
    ("src/sim/lib.rs", "use flipside_image::*; pub fn boot() {}"),
    ("src/main.rs", "fn main() { flipside::cli::main() }"),
    (
        "src/lib.rs",
        "pub mod cli; pub mod codes; pub mod config; pub mod error; pub mod rules; pub mod hooks; pub mod health; \
      pub mod run; pub mod reboot; pub mod report; pub mod system;",
    ),
    (
        "src/cli/mod.rs",
        "use crate::{config, run}; use flipside_publish::Image; pub fn main() { println!(\"a\") }",
    ),
    (
        "src/config/mod.rs",
        "use flipside_core::settings::Settings; use flipside_source::Source; pub struct Config;",
    ),
    ("src/error.rs", "use crate::config::Config; pub enum Error {}"),
    ("src/codes.rs", "pub use flipside_core::settings::Settings;"),
    ("src/rules/mod.rs", "mod hold; mod window; pub struct Verdict;"),
    ("src/rules/hold.rs", "use super::Verdict; use crate::hooks::Hook; pub struct Hold;"),
    ("src/rules/window.rs", "use super::hold::Hold; pub struct Window;"),
    ("src/hooks/mod.rs", "use crate::config::Config; use std::process::Command; pub struct Hook;"),
    ("src/health/mod.rs", "use crate::hooks::Hook;"),
    ("src/run/mod.rs", "use crate::rules::Verdict; use crate::report::Status; pub fn run() {}"),
    ("src/reboot/mod.rs", "use crate::run;"),
    ("src/report/mod.rs", "use crate::system::Bus; pub struct Status;"),
    ("src/system/mod.rs", "use zbus::Connection; pub struct Bus;"),
    ("src/core/host/tests.rs", TEST_FILE),
    ("src/core/host/test_disk.rs", TEST_FILE),
    ("src/core/tests/power_cut.rs", TEST_FILE),
    ("src/image/text.rs", NO_IMPORTS),
    ("src/image/text/only_tests.rs", TEST_FILE),
    ("src/core/state/text.rs", NO_IMPORTS),
    ("src/core/state/text/only_tests/mod.rs", TEST_FILE),
];

impl ExampleTree {
    /// Writes the tree.
    pub fn new() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("flipside-architecture-{}-{number}", std::process::id());
        let tree = Self { root: std::env::temp_dir().join(name) };
        for (path, text) in FILES {
            tree.put(path, text);
        }
        tree
    }

    /// Writes one file.
    pub fn put(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Puts text at the end of a file.
    pub fn append(&self, path: &str, text: &str) {
        let before = fs::read_to_string(self.root.join(path)).unwrap_or_default();
        self.put(path, &format!("{before}\n{text}"));
    }

    /// What breaks the table.
    pub fn violations(&self) -> Vec<String> {
        check::violations(&resolve::graph(&self.root), ROWS)
    }

    /// The same, with text at the end of a file below src, which is taken away again.
    pub fn violations_with(&self, path: &str, text: &str) -> Vec<String> {
        let path = format!("src/{path}");
        let before = fs::read_to_string(self.root.join(&path));
        self.append(&path, text);
        let found = self.violations();
        match before {
            Ok(before) => self.put(&path, &before),
            Err(_) => fs::remove_file(self.root.join(&path)).unwrap(),
        }
        found
    }

    /// The circles of imports.
    pub fn circles(&self) -> Vec<String> {
        circles::circles(&resolve::graph(&self.root))
    }
}

impl Drop for ExampleTree {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.root).unwrap();
    }
}
