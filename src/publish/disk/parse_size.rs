// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sizes as people write them.

use super::DiskBuildError;

/// Reads `512MiB`, `2G` or `1048576`: a number, with a unit of 1024 or none for bytes.
///
/// # Errors
/// [`DiskBuildError::SizeInvalid`].
pub fn parse_size(text: &str) -> Result<u64, DiskBuildError> {
    let invalid = || DiskBuildError::SizeInvalid { text: text.chars().take(40).collect() };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(invalid)?;
    let shift = match unit {
        "" | "B" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        _ => return Err(invalid()),
    };
    let number: u64 = number.parse().map_err(|_| invalid())?;
    number.checked_mul(1 << shift).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_units_of_1024() {
        for (text, size) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("7B", 7),
            ("64K", 64 << 10),
            ("512MiB", 512 << 20),
            ("512M", 512 << 20),
            ("2G", 2 << 30),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(parse_size(text).unwrap(), size, "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for bad in [
            "",
            "MiB",
            "-1",
            "+1",
            "1.5G",
            "512MB",
            "512 MiB",
            "1g",
            "é",
            "18446744073709551616",
            "17179869184G",
        ] {
            assert!(parse_size(bad).is_err(), "{bad:?}");
        }
    }
}
