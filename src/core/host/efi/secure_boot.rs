// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the firmware asks of programs before it starts them, and shim where it counts: variables, as
//! they stand.

use flipside_image::secure_boot::{Firmware, Mode, ShimLists};
use uuid::{Uuid, uuid};

use super::EfiError;
use super::variables::{GLOBAL_VARIABLE, Variables};
use crate::host::Root;

/// `EFI_IMAGE_SECURITY_DATABASE_GUID` (UEFI 2.10, section 32.6.1).
const IMAGE_SECURITY: Uuid = uuid!("d719b2cb-3d3a-4596-a3bc-dad00e67656f");
/// `SHIM_LOCK_GUID` of shim.
const SHIM: Uuid = uuid!("605dab50-e046-4300-abb6-3dd810dd8b23");
/// Where the kernel shows shim's lists, also those that are too long for a variable
/// (drivers/firmware/efi/mokvar-table.c).
const MOK_VARIABLES: &str = "sys/firmware/efi/mok-variables";
/// Some ten times what lists have, in bytes.
const LIMIT: u64 = 1 << 20;

/// Reads them; shim's only where it `has_shim`.
///
/// # Errors
/// [`EfiError::Read`].
pub fn secure_boot(
    root: &Root,
    variables: &Variables,
    has_shim: bool,
) -> Result<Firmware, EfiError> {
    let value = |name: &str, vendor| {
        let variable = variables.read_long(name, vendor, LIMIT)?;
        Ok::<_, EfiError>(variable.map_or_else(Vec::new, |variable| variable.data))
    };
    let of_shim = |name: &str| match std::fs::read(root.path(MOK_VARIABLES).join(name)) {
        Ok(list) => Ok(list),
        Err(_) => value(name, SHIM),
    };
    let mut firmware = Firmware {
        mode: Mode::of(
            &value("SecureBoot", GLOBAL_VARIABLE)?,
            &value("SetupMode", GLOBAL_VARIABLE)?,
        ),
        db: value("db", IMAGE_SECURITY)?,
        dbx: value("dbx", IMAGE_SECURITY)?,
        shim: None,
    };
    if has_shim {
        let (allowed, forbidden) = (of_shim("MokListRT")?, of_shim("MokListXRT")?);
        firmware.shim = Some(ShimLists { allowed, forbidden, sbat_level: of_shim("SbatLevelRT")? });
    }
    Ok(firmware)
}
