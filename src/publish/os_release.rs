// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the OS is, from its os-release file (os-release(5)) or a product-info file.

use std::fs;
use std::path::Path;

use flipside_image::os_release::OsReleaseFields;
use flipside_image::{Architecture, ProductInfo};

use super::PublishError;

/// The most bytes that either file may have.
const LIMIT: u64 = 1 << 20;

/// Reads a product-info file: JSON with the fields of `product_info` in an image config.
///
/// # Errors
/// [`PublishError::File`] and [`PublishError::ProductInfo`].
pub fn read_product_info(path: &Path) -> Result<ProductInfo, PublishError> {
    let invalid = |what| PublishError::ProductInfo { path: path.to_owned(), what };
    serde_json::from_slice(&read(path, &invalid)?).map_err(|error| invalid(error.to_string()))
}

/// What an os-release file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OsRelease {
    /// What the OS is.
    pub info: ProductInfo,
    /// Whether its version is that of the distribution (`VERSION_ID`): every build has the same.
    pub is_of_distribution: bool,
}

/// Reads an os-release file. `version` stands for the file's own; where both are missing
/// that is an error.
///
/// - `id` is `ID`, `name` is `NAME` or else `PRETTY_NAME`, which often holds a version and
///   is therefore no good name for a boot entry
/// - `version` is `IMAGE_VERSION`, or else `VERSION_ID`
/// - `variant` is `ARCHITECTURE`, or else what this program was built for; and
///   `-VARIANT_ID` where there is one
///
/// # Errors
/// [`PublishError::File`] and [`PublishError::OsRelease`].
pub fn read_os_release(path: &Path, version: Option<&str>) -> Result<OsRelease, PublishError> {
    let invalid = |what| PublishError::OsRelease { path: path.to_owned(), what };
    parse_os_release(path, read(path, &invalid)?, version)
}

/// The same of the content of the file `path`.
///
/// # Errors
/// [`PublishError::OsRelease`].
pub fn parse_os_release(
    path: &Path,
    bytes: Vec<u8>,
    version: Option<&str>,
) -> Result<OsRelease, PublishError> {
    let invalid = |what| PublishError::OsRelease { path: path.to_owned(), what };
    let text = String::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8".to_owned()))?;
    product_info(&text, version).map_err(invalid)
}

fn read(path: &Path, invalid: &dyn Fn(String) -> PublishError) -> Result<Vec<u8>, PublishError> {
    let size = fs::metadata(path).map_err(PublishError::file("read", path))?.len();
    if size > LIMIT {
        return Err(invalid(format!("it has {size} bytes, at most {LIMIT} are read")));
    }
    fs::read(path).map_err(PublishError::file("read", path))
}

fn product_info(text: &str, version: Option<&str>) -> Result<OsRelease, String> {
    let fields = OsReleaseFields::parse(text)?;
    let first = |keys: &[&str]| fields.first(keys).map(str::to_owned);
    let id = first(&["ID"]).ok_or("it has no ID")?;
    let name = first(&["NAME", "PRETTY_NAME"]).unwrap_or_else(|| id.clone());
    let is_of_distribution = version.or(fields.first(&["IMAGE_VERSION"])).is_none();
    let version = match version {
        Some(version) => version.to_owned(),
        None => first(&["IMAGE_VERSION", "VERSION_ID"])
            .ok_or("it has neither IMAGE_VERSION nor VERSION_ID, and no --version was given")?,
    };
    let architecture = match first(&["ARCHITECTURE"]) {
        Some(name) => architecture(&name)
            .ok_or_else(|| format!("its ARCHITECTURE {name:?} is neither x86-64 nor arm64"))?,
        None => Architecture::of_this_build()
            .ok_or("it has no ARCHITECTURE, and this machine's is not known")?,
    };
    let mut variant = architecture.name().to_owned();
    if let Some(id) = first(&["VARIANT_ID"]) {
        variant.push('-');
        variant.push_str(&id);
    }
    let info = ProductInfo {
        id,
        name,
        version,
        variant,
        commit_hash: String::new(),
        commit_date: String::new(),
        build_tree_dirty: false,
        components: None,
    };
    Ok(OsRelease { info, is_of_distribution })
}

/// By systemd's name, which os-release(5) asks for, or the kernel's or OCI's.
pub fn architecture(name: &str) -> Option<Architecture> {
    match name {
        "x86-64" => Some(Architecture::X86_64),
        other => Architecture::from_name(other).or_else(|| Architecture::from_oci_name(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debians_own_file_is_understood() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\n\
            VERSION_ID=\"12\"\nVERSION=\"12 (bookworm)\"\nID=debian\n\n# comment\n";
        let OsRelease { info, is_of_distribution } = product_info(text, None).unwrap();
        assert!(is_of_distribution);
        assert_eq!((info.id.as_str(), info.name.as_str()), ("debian", "Debian GNU/Linux"));
        assert_eq!(info.version, "12");
        assert_eq!(info.architecture(), Architecture::of_this_build());
        assert_eq!(product_info(text, Some("12.7")).unwrap().info.version, "12.7");
    }

    #[test]
    fn the_image_version_and_the_variant_are_preferred() {
        let text = "ID=acme\nVERSION_ID=1\nIMAGE_VERSION=2026.11.1\nARCHITECTURE=arm64\n\
            VARIANT_ID=edge\nPRETTY_NAME='Acme 1'\n";
        let OsRelease { info, is_of_distribution } = product_info(text, None).unwrap();
        assert!(!is_of_distribution);
        assert_eq!(info.version, "2026.11.1");
        assert_eq!(info.variant, "aarch64-edge");
        assert_eq!(info.architecture(), Some(Architecture::Aarch64));
        assert_eq!(info.name, "Acme 1");
    }

    #[test]
    fn what_is_missing_is_named() {
        for (text, part) in [
            ("VERSION_ID=1", "no ID"),
            ("ID=a", "--version"),
            ("ID=a\nVERSION_ID=\"\"", "--version"),
            ("ID=a\nVERSION_ID=1\nARCHITECTURE=riscv64", "riscv64"),
            ("ID=a\nVERSION_ID", "line 2"),
            ("ID=a\nVERSION_ID='1", "line 2"),
            ("ID=a\n\nexport X=1", "line 3"),
            ("ID=$(reboot)", "line 1"),
        ] {
            let error = product_info(text, None).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}
