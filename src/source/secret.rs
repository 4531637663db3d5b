// SPDX-License-Identifier: MIT OR Apache-2.0

//! Credentials that were found, and the environment that says where to look for them.

use std::ffi::OsString;

/// What a registry or its token service is shown, and where it was found.
#[derive(Clone)]
pub struct Credentials {
    /// What is shown.
    pub secret: Secret,
    /// For people: the file or the helper.
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
