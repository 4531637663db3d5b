// SPDX-License-Identifier: MIT OR Apache-2.0

//! EFI programs: what a PE file says about itself in its first bytes (Microsoft PE format,
//! sections 3.1 to 3.3; UEFI 2.10, section 2.1.1).

use std::io;

use crate::image::Architecture;

/// The machine that a program is for, by the number in its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine(u16);

impl Machine {
    /// Whether the firmware of `architecture` takes such a program.
    pub fn is(self, architecture: Architecture) -> bool {
        self.0
            == match architecture {
                Architecture::X86_64 => 0x8664,
                Architecture::Aarch64 => 0xaa64,
            }
    }
}

/// What the program is for whose bytes `read` gives, all that it is asked for or
/// [`io::ErrorKind::UnexpectedEof`]. `None` for what is no program.
///
/// # Errors
/// Those of `read`.
pub fn machine(read: impl Fn(&mut [u8], u64) -> io::Result<()>) -> io::Result<Option<Machine>> {
    let mut start = [0; 0x40];
    let mut header = [0; 6];
    let found = (|| {
        read(&mut start, 0)?;
        let at = start.last_chunk().copied().map_or(0, u32::from_le_bytes);
        read(&mut header, at.into())
    })();
    match (found, header) {
        (Ok(()), [b'P', b'E', 0, 0, low, high]) if start.starts_with(b"MZ") => {
            Ok(Some(Machine(u16::from_le_bytes([low, high]))))
        }
        (Ok(()), _) => Ok(None),
        (Err(error), _) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        (Err(error), _) => Err(error),
    }
}

/// The same of a whole file in memory.
pub fn machine_of(bytes: &[u8]) -> Option<Machine> {
    let read = |to: &mut [u8], at: u64| {
        let from = usize::try_from(at).ok().and_then(|at| bytes.get(at..)?.get(..to.len()));
        from.map(|from| to.copy_from_slice(from)).ok_or(io::ErrorKind::UnexpectedEof.into())
    };
    machine(read).ok().flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn program(machine: [u8; 2]) -> Vec<u8> {
        let mut bytes = vec![0; 0x46];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[0x3c] = 0x40;
        bytes[0x40..0x44].copy_from_slice(b"PE\0\0");
        bytes[0x44..].copy_from_slice(&machine);
        bytes
    }

    #[test]
    fn a_program_is_for_one_machine() {
        let x86 = machine_of(&program([0x64, 0x86])).unwrap();
        assert!(x86.is(Architecture::X86_64) && !x86.is(Architecture::Aarch64));
        let arm = machine_of(&program([0x64, 0xaa])).unwrap();
        assert!(arm.is(Architecture::Aarch64) && !arm.is(Architecture::X86_64));
    }

    #[test]
    fn what_is_cut_or_has_another_start_is_no_program() {
        let whole = program([0x64, 0x86]);
        for length in 0..whole.len() {
            assert_eq!(machine_of(&whole[..length]), None, "{length}");
        }
        for at in [0, 1, 0x3c, 0x3f, 0x40, 0x43] {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x81;
            assert_eq!(machine_of(&damaged), None, "{at}");
        }
    }

    #[test]
    fn a_failure_to_read_is_not_taken_for_no_program() {
        assert!(machine(|_, _| Err(io::ErrorKind::PermissionDenied.into())).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(start) = bytes.get_mut(..2) {
                start.copy_from_slice(b"MZ");
            }
            machine_of(&bytes);
        }
    }
}
