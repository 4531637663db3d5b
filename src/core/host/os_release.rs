// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the running OS calls itself (os-release(5)).

use super::Root;
use flipside_image::os_release::OsReleaseFields;

/// Where it stands, the first that exists.
const FILES: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];
/// More than any such file has, in bytes.
const LIMIT: u64 = 64 << 10;

/// Name and version of the running OS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OsRelease {
    /// `ID`, where it has one: what an image of the same product has as `product_info.id`.
    pub id: Option<String>,
    /// `NAME`, or else `Linux`, as os-release(5) says.
    pub name: String,
    /// `IMAGE_VERSION`, or else `VERSION_ID`, or else `unknown`.
    pub version: String,
}

impl OsRelease {
    /// Reads the file of the host below `root`. Names are for people: what is missing or
    /// cannot be read has a default.
    pub fn read(root: &Root) -> Self {
        let text = FILES.iter().find_map(|file| {
            let path = root.path(file);
            let size = std::fs::metadata(&path).ok()?.len();
            if size > LIMIT {
                return None;
            }
            std::fs::read(path).ok()
        });
        Self::parse(&String::from_utf8_lossy(&text.unwrap_or_default()))
    }

    fn parse(text: &str) -> Self {
        let fields = OsReleaseFields::parse_lossy(text);
        let first = |keys: &[&str]| fields.first(keys).map(|v| v.replace(char::is_control, ""));
        Self {
            id: first(&["ID"]),
            name: first(&["NAME"]).unwrap_or_else(|| "Linux".to_owned()),
            version: first(&["IMAGE_VERSION", "VERSION_ID"])
                .unwrap_or_else(|| "unknown".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions_are_read() {
        for (text, id, name, version) in [
            ("", None, "Linux", "unknown"),
            ("NAME=Acme\nVERSION_ID='12'\nID=", None, "Acme", "12"),
            (
                "PRETTY_NAME=x\nID=acme\nNAME=\"Acme OS\"\nVERSION_ID=1\nIMAGE_VERSION=7.2",
                Some("acme"),
                "Acme OS",
                "7.2",
            ),
            ("NAME=\nNAME=a\nNAME=b", None, "b", "unknown"),
        ] {
            let id = id.map(str::to_owned);
            let expected = OsRelease { id, name: name.into(), version: version.into() };
            assert_eq!(OsRelease::parse(text), expected, "{text}");
        }
    }
}
