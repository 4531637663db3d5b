// SPDX-License-Identifier: MIT OR Apache-2.0

//! Would the firmware start what is about to be written? Asked before anything is: a boot file in step
//! 2 of P4, and the loader before its copy.

use std::io;

use flipside_image::secure_boot::Firmware;

use crate::error::Error;
use crate::host::efi::{self, Variables};
use crate::opened::Host;
use crate::settings::BootBackend;

impl Host {
    /// What the firmware asks of programs before it starts them, and shim where systemd-boot is behind
    /// it: the firmware starts boot files itself otherwise.
    ///
    /// # Errors
    /// [`Error`] where the ESP or the firmware cannot be read.
    pub fn secure_boot(&self) -> Result<Firmware, Error> {
        let Ok(variables) = Variables::open(&self.root, &self.durable) else {
            return Ok(Firmware::default());
        };
        let has_shim = self.backend == BootBackend::SystemdBoot && self.esp.has_shim()?;
        Ok(efi::secure_boot(&self.root, &variables, has_shim)?)
    }

    /// Refuses a program that `firmware` would not start, before anything is written: `what`, of `size`
    /// bytes that `read` gives.
    ///
    /// # Errors
    /// That; those of `read`.
    pub(crate) fn refuse_untrusted(
        &self,
        what: &str,
        firmware: &Firmware,
        size: u64,
        read: &dyn Fn(&mut [u8], u64) -> io::Result<()>,
    ) -> Result<(), Error> {
        Ok((self.trust)(what, &firmware.judge(size, read)?).into_result()?)
    }
}
