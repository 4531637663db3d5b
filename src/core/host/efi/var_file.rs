// SPDX-License-Identifier: MIT OR Apache-2.0

//! Firmware that holds its variables in memory while an OS runs, and leaves it to the OS to write
//! them to a file on the ESP (EBBR, "File format for storing EFI variables").

use uuid::Uuid;

use super::EfiError;
use super::variables::{Variable, Variables};
use flipside_image::efi::var_file::{MAX_SIZE, file_name, is_whole};

/// The vendor of both variables (`U_BOOT_EFI_RT_VAR_FILE_GUID`).
const VENDOR: Uuid = Uuid::from_u128(0xb2ac5fc9_92b7_4acd_aeac_11e818c3130c);
/// The name of the file.
const FILE_NAME: &str = "RTStorageVolatile";
/// What the file is to hold.
const CONTENTS: &str = "VarToFile";

const NON_VOLATILE: u32 = 1;

/// Where variables are kept over a reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keeper {
    /// In NVRAM, by the firmware.
    Firmware,
    /// In the file of this name, in the root of the ESP, by whoever changes them.
    File(String),
    /// Nowhere that is known; why.
    Nobody(&'static str),
}

/// Who keeps `variables`.
///
/// # Errors
/// [`EfiError::Read`].
pub fn keeper(variables: &Variables) -> Result<Keeper, EfiError> {
    let name = variables.read(FILE_NAME, VENDOR)?;
    let contents = variables.read_long(CONTENTS, VENDOR, MAX_SIZE)?;
    let (name, contents) = match (name, contents) {
        (None, None) => return Ok(Keeper::Firmware),
        (Some(name), Some(contents)) => (name, contents),
        _ => return Ok(Keeper::Nobody("of RTStorageVolatile and VarToFile one is missing")),
    };
    let is_lasting = |variable: &Variable| variable.attributes & NON_VOLATILE != 0;
    Ok(if is_lasting(&name) || is_lasting(&contents) {
        Keeper::Nobody("RTStorageVolatile or VarToFile is not the firmware's own")
    } else if !is_whole(&contents.data) {
        Keeper::Nobody("VarToFile does not hold variables in the format of EBBR")
    } else {
        match file_name(&name.data) {
            Some(name) => Keeper::File(name),
            None => Keeper::Nobody("RTStorageVolatile is not the name of one file"),
        }
    })
}

/// What the file has to hold now.
///
/// # Errors
/// [`EfiError::Read`], [`EfiError::NotKept`].
pub fn contents(variables: &Variables) -> Result<Vec<u8>, EfiError> {
    let variable = variables.read_long(CONTENTS, VENDOR, MAX_SIZE)?;
    variable.map(|variable| variable.data).filter(|data| is_whole(data)).ok_or_else(|| {
        EfiError::NotKept { why: "VarToFile holds no variables any more".to_owned() }
    })
}
