// SPDX-License-Identifier: MIT OR Apache-2.0

//! Forms of text that settings have. A value of one of these types has been checked.

use std::num::NonZeroU32;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Unexpected};

use super::window::Window;
use super::{Deltas, units};
use flipside_image::redact::has_user;
use flipside_image::reference::{USER, is_host};
use flipside_source::proxy::{is_exception, proxy_url};

const WORD: &str = "text without white space that is not empty";

/// Defines a newtype: the type inside, the type that it is used as, what its text has to be, and
/// the function that reads the text.
macro_rules! form {
    ($(#[$meta:meta])* $name:ident($inner:ty) as $seen:ty, $expected:expr, $read:expr) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(pub $inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                read(deserializer, $expected, $read).map(Self)
            }
        }

        impl Deref for $name {
            type Target = $seen;

            fn deref(&self) -> &$seen {
                &self.0
            }
        }
    };
}

form!(
    /// Text without white space.
    Word(String) as str, WORD, |text| Ok(word(text))
);
form!(
    /// A registry, a repository or a host, without a user: everybody can read settings, and what
    /// is followed is shown to everybody.
    Address(String) as str, WORD, |text| without_user(text, USER).map(word)
);
form!(
    /// A host that is spoken to without TLS. `http://` before it says the same.
    PlainHost(String) as str, "a host such as \"registry.lan:5000\", without a path", |text| {
        let host = without_user(text, USER)?.trim_end_matches('/');
        let host = host.strip_prefix("http://").unwrap_or(host);
        // Also a name without a dot, which no reference has without a port.
        Ok(word(host).filter(|host| is_host(host) || is_host(&format!("{host}:80"))))
    }
);
form!(
    /// An `http` or `https` address to ask, without a user and a fragment.
    HttpUrl(String) as str, "an address such as \"https://updates.example.com\"", |text| {
        let url = without_user(text, "graph servers are asked without a user and a password")?;
        Ok(word(url).filter(|url| is_url(url)))
    }
);
form!(
    /// A proxy, without a user: everybody can read settings.
    ProxyUrl(String) as str, "a proxy such as \"http://proxy.example.com:3128\"", |text| {
        let reason = "a proxy's password belongs in the environment of the services (docs/proxy.md)";
        Ok(word(without_user(text, reason)?).filter(|text| proxy_url(text).is_some()))
    }
);
form!(
    /// Hosts that are reached without a proxy.
    NoProxy(String) as str, "a name, address or network such as \"*.example.com\" or \"10.0.0.0/8\"",
    |text| Ok(word(text).filter(|text| is_exception(text)))
);
form!(
    /// An absolute path of the host.
    HostPath(PathBuf) as Path, "an absolute path", |text| Ok(path(text))
);
form!(
    /// An absolute path of the host, or what flipside finds by itself.
    #[derive(Default)]
    PathOrAuto(Option<PathBuf>) as Option<PathBuf>, "an absolute path, or \"auto\"", |text| {
        Ok(if text == "auto" { Some(None) } else { path(text).map(Some) })
    }
);
form!(
    /// Bytes, at least one.
    Size(u64) as u64, "a number of bytes above zero such as \"2MiB\"", |text| {
        Ok(units::size(text).filter(|size| *size > 0))
    }
);
form!(
    /// Bytes per second, also none.
    Rate(u64) as u64, "a number of bytes such as \"16KiB\" or \"0\"", |text| Ok(units::size(text))
);
form!(
    /// How long something may take, more than no time.
    TimeLimit(Duration) as Duration, "a duration above zero such as \"10min\" or \"1d 2h\"", |text| {
        Ok(units::duration(text).filter(|duration| !duration.is_zero()))
    }
);
form!(
    /// How long something is waited for, also not at all.
    Wait(Duration) as Duration, "a duration such as \"10min\" or \"0s\"", |text| {
        Ok(units::duration(text))
    }
);

/// `true`, `false` or `"writable"`.
impl<'de> Deserialize<'de> for Deltas {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Either {
            Flag(bool),
            Word(String),
        }
        match Either::deserialize(deserializer) {
            Ok(Either::Flag(false)) => Ok(Self::Off),
            Ok(Either::Flag(true)) => Ok(Self::On),
            Ok(Either::Word(word)) if word == "writable" => Ok(Self::Writable),
            _ => Err(unlike("true, false or \"writable\"")),
        }
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = text(deserializer, "a window such as \"Sat,Sun 22:00 2h Europe/Berlin\"")?;
        text.parse().map_err(Error::custom)
    }
}

/// For an optional setting that refuses empty text: there it is most often a mistake.
pub(super) fn not_empty<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// What is followed. What services are to find has to be written with its whole path.
pub(super) fn followed<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Address>, D::Error> {
    let image = Address::deserialize(deserializer)?;
    let path = image.strip_prefix("oci:").or_else(|| image.strip_prefix("oci-archive:"));
    match path.is_some_and(|path| !path.starts_with('/')) {
        true => Err(Error::custom("write the whole path behind the colon, oci:/srv/image:stable")),
        false => Ok(Some(image)),
    }
}

/// At least 1.
pub(super) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let count = NonZeroU32::deserialize(deserializer);
    count.map(NonZeroU32::get).map_err(|_| unlike("a whole number from 1"))
}

/// Reads text of a form. `read` returns nothing for any other text, and a reason for text that is
/// refused although it has the form.
fn read<'de, T, D: Deserializer<'de>>(
    deserializer: D,
    expected: &str,
    read: impl FnOnce(&str) -> Result<Option<T>, &'static str>,
) -> Result<T, D::Error> {
    let text = text(deserializer, expected)?;
    read(&text).map_err(Error::custom)?.ok_or_else(|| unlike(expected))
}

fn text<'de, D: Deserializer<'de>>(deserializer: D, expected: &str) -> Result<String, D::Error> {
    String::deserialize(deserializer).map_err(|_| unlike(expected))
}

fn unlike<E: Error>(expected: &str) -> E {
    E::invalid_value(Unexpected::Other("something else"), &expected)
}

/// Whether `text` is one line that is not blank.
pub(super) fn is_line(text: &str) -> bool {
    !text.trim().is_empty() && !text.contains(char::is_control)
}

fn word(text: &str) -> Option<String> {
    (is_line(text) && !text.contains(char::is_whitespace)).then(|| text.to_owned())
}

fn path(text: &str) -> Option<PathBuf> {
    (is_line(text) && text.starts_with('/')).then(|| PathBuf::from(text))
}

fn without_user<'t>(text: &'t str, reason: &'static str) -> Result<&'t str, &'static str> {
    if has_user(text) { Err(reason) } else { Ok(text) }
}

fn is_url(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        ["http", "https"].contains(&url.scheme())
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none()
    })
}
