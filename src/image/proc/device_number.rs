// SPDX-License-Identifier: MIT OR Apache-2.0

//! Device numbers as the kernel writes them: `major:minor`.

use std::fmt;
use std::str::FromStr;

/// A device's number: its identity, while its names may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNumber {
    /// Which driver.
    pub major: u32,
    /// Which of the driver's devices.
    pub minor: u32,
}

impl DeviceNumber {
    /// Whether a file system without a device of its own has this number (btrfs, overlay,
    /// tmpfs).
    pub fn is_anonymous(self) -> bool {
        self.major == 0
    }
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// Text that is no device number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a device number has the form major:minor")]
pub struct NoDeviceNumber;

impl FromStr for DeviceNumber {
    type Err = NoDeviceNumber;

    fn from_str(text: &str) -> Result<Self, NoDeviceNumber> {
        let (major, minor) = text.split_once(':').ok_or(NoDeviceNumber)?;
        Ok(Self {
            major: major.parse().map_err(|_| NoDeviceNumber)?,
            minor: minor.parse().map_err(|_| NoDeviceNumber)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_are_read() {
        assert_eq!("254:3".parse(), Ok(DeviceNumber { major: 254, minor: 3 }));
        for text in ["", "254", "254:", ":3", "a:b", "1:2:3", "99999999999:1"] {
            assert_eq!(text.parse::<DeviceNumber>(), Err(NoDeviceNumber), "{text}");
        }
        assert!(DeviceNumber { major: 0, minor: 27 }.is_anonymous());
    }
}
