// SPDX-License-Identifier: MIT OR Apache-2.0

//! Credentials that were found, and the environment that says where to look for them.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::PathBuf;

use flipside_core::host::Root;

/// The most bytes of `/etc/passwd` that are read.
const PASSWD_LIMIT: u64 = 1 << 20;

/// What a registry or its token service is shown, and where it was found.
#[derive(Clone)]
pub struct Credentials {
    /// What is shown.
    pub secret: Secret,
    /// For people: the file and its entry, or the helper.
    pub origin: String,
}

/// The kinds of credentials.
#[derive(Clone)]
pub enum Secret {
    /// For Basic, or for the token service.
    Password {
        /// Whose it is.
        username: String,
        /// The password, or a token in its place.
        password: String,
    },
    /// An OAuth2 refresh token for the token service.
    IdentityToken(String),
    /// A bearer token for the registry itself.
    RegistryToken(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials(from {})", self.origin)
    }
}

/// The environment, as far as it says where credentials are.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The home directory of this user. systemd gives system services no `HOME`; getpwuid(3) would
/// look in `/etc/passwd` as well, but not below another root.
pub(super) fn home(root: &Root, environment: Environment<'_>) -> Option<PathBuf> {
    if let Some(home) = environment("HOME").filter(|home| !home.is_empty()) {
        return Some(home.into());
    }
    let uid = nix::unistd::geteuid();
    let mut passwd = String::new();
    if let Ok(file) = std::fs::File::open(root.path("/etc/passwd")) {
        // What is no text is as good as nothing.
        let _ = file.take(PASSWD_LIMIT).read_to_string(&mut passwd);
    }
    // passwd(5): name, password, UID, GID, comment, home.
    let home = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_own = fields.nth(2)?.parse() == Ok(uid.as_raw());
        fields.nth(2).filter(|home| is_own && !home.is_empty())
    });
    home.or(uid.is_root().then_some("/root")).map(PathBuf::from)
}
