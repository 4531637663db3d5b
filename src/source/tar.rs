// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where the members of a tar file lie, without reading what is in them.
//!
//! Written for archives that others made, with what hides in them in mind: members that
//! two readers would see differently (sparse files, links, sizes that contradict each
//! other) are refused or never taken for files, and memory does not follow what headers
//! claim. Formats: POSIX pax and ustar (IEEE Std 1003.1-2017, pax, "EXTENDED DESCRIPTION"),
//! and the GNU long names and base-256 numbers that Go's and GNU's writers use.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// The unit of tar, in bytes.
const BLOCK: u64 = 512;

/// The most bytes of an extended header or long name that are read.
const EXTENSION_LIMIT: u64 = 64 << 10;

/// The most members an archive may have: an image has a handful of blobs.
const MEMBERS: usize = 1 << 16;

/// A regular file in a tar file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name as it stands there.
    pub name: String,
    /// Where its bytes begin.
    pub offset: u64,
    /// How many there are; they end within the tar file.
    pub size: u64,
}

/// What extended headers say about the next member.
#[derive(Default)]
struct Extended {
    name: Option<String>,
    size: Option<u64>,
}

/// Calls `found` for each regular file of a tar file of `length` bytes, in order. Names that
/// are not UTF-8 are passed over.
///
/// # Errors
/// What is wrong with the archive, or what `found` said.
pub fn members(
    file: &File,
    length: u64,
    found: &mut dyn FnMut(Member) -> Result<(), String>,
) -> Result<(), String> {
    let mut at = 0;
    let mut extended = Extended::default();
    for _ in 0..MEMBERS {
        // Some writers leave out the blocks of zeroes at the end.
        if at == length {
            return Ok(());
        }
        let mut header = [0; BLOCK as usize];
        read(file, at, &mut header)?;
        if header.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let header = Header(header);
        header.check_sum(at)?;
        let kind = header.kind();
        let size = match (kind, extended.size) {
            (b'0' | 0 | b'7', Some(size)) => size,
            _ => header.number(124, 12).ok_or_else(|| format!("a size at {at} is no number"))?,
        };
        let offset = at + BLOCK;
        let end = offset.checked_add(size).filter(|end| *end <= length);
        let end = end.ok_or_else(|| format!("it ends within the member at {at}"))?;
        match kind {
            b'0' | 0 | b'7' => {
                let extended = std::mem::take(&mut extended);
                if let Some(name) = extended.name.or_else(|| header.name()) {
                    found(Member { name, offset, size })?;
                }
            }
            b'x' => read_pax(&extension(file, offset, size)?, &mut extended)?,
            b'L' => {
                let bytes = extension(file, offset, size)?;
                let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
                extended.name = Some(utf8(name)?);
            }
            b'g' => {
                let mut global = Extended::default();
                read_pax(&extension(file, offset, size)?, &mut global)?;
                if global.name.is_some() || global.size.is_some() {
                    return Err("a global header names or sizes all of its members".to_owned());
                }
            }
            b'K' => {}
            // Links, devices, directories, FIFOs: nothing of an image.
            b'1'..=b'6' if size == 0 => extended = Extended::default(),
            b'1'..=b'6' => return Err(format!("the member at {at} is no file but has a size")),
            _ => {
                let kind = char::from(kind).escape_default();
                return Err(format!("the member at {at} is of the type '{kind}'"));
            }
        }
        at = end.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX).min(length);
    }
    Err(format!("it has more than {MEMBERS} members"))
}

fn read(file: &File, at: u64, bytes: &mut [u8]) -> Result<(), String> {
    file.read_exact_at(bytes, at).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => format!("it ends within the header at {at}"),
        _ => format!("it cannot be read: {error}"),
    })
}

fn extension(file: &File, offset: u64, size: u64) -> Result<Vec<u8>, String> {
    if size > EXTENSION_LIMIT {
        return Err(format!("an extended header has {size} bytes"));
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
    read(file, offset, &mut bytes)?;
    Ok(bytes)
}

fn utf8(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "a long name is not UTF-8".to_owned())
}

/// Reads `LENGTH KEY=VALUE\n` records; the length counts the whole record.
fn read_pax(mut rest: &[u8], extended: &mut Extended) -> Result<(), String> {
    let bad = || "an extended header cannot be read".to_owned();
    while !rest.is_empty() {
        let space = rest.iter().position(|byte| *byte == b' ').ok_or_else(bad)?;
        let (digits, _) = rest.split_at_checked(space).ok_or_else(bad)?;
        let length = decimal(digits).and_then(|n| usize::try_from(n).ok()).ok_or_else(bad)?;
        let (record, after) = rest.split_at_checked(length).ok_or_else(bad)?;
        let record = record.get(space + 1..).and_then(|r| r.strip_suffix(b"\n")).ok_or_else(bad)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(bad)?;
        let (key, value) = record.split_at_checked(equals).ok_or_else(bad)?;
        let value = value.get(1..).unwrap_or_default();
        match key {
            b"path" => extended.name = Some(utf8(value)?),
            b"size" => extended.size = Some(decimal(value).ok_or_else(bad)?),
            _ if key.starts_with(b"GNU.sparse.") => {
                return Err("it holds a sparse file".to_owned());
            }
            _ => {}
        }
        rest = after;
    }
    Ok(())
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// One header block.
struct Header([u8; BLOCK as usize]);

impl Header {
    fn field(&self, at: usize, length: usize) -> &[u8] {
        self.0.get(at..at + length).unwrap_or_default()
    }

    fn kind(&self) -> u8 {
        self.field(156, 1).first().copied().unwrap_or_default()
    }

    fn check_sum(&self, at: u64) -> Result<(), String> {
        // The field itself counts as spaces.
        let outside = |field: &[u8]| field.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        let sum = outside(&self.0) - outside(self.field(148, 8)) + 8 * u64::from(b' ');
        match self.number(148, 8) {
            Some(stated) if stated == sum => Ok(()),
            _ => Err(format!("what stands at {at} is no tar header")),
        }
    }

    /// Octal digits between spaces and NULs, or GNU's base 256.
    fn number(&self, at: usize, length: usize) -> Option<u64> {
        let field = self.field(at, length);
        if let [0x80, rest @ ..] = field {
            return rest
                .iter()
                .try_fold(0_u64, |sum, byte| sum.checked_mul(256)?.checked_add(u64::from(*byte)));
        }
        let digits: Vec<u8> = field
            .iter()
            .copied()
            .skip_while(|byte| *byte == b' ')
            .take_while(|byte| *byte != b' ' && *byte != 0)
            .collect();
        digits.iter().try_fold(0_u64, |sum, digit| match digit {
            b'0'..=b'7' => sum.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
            _ => None,
        })
    }

    fn name(&self) -> Option<String> {
        let text = |at, length| {
            let field = self.field(at, length);
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(length);
            std::str::from_utf8(field.get(..end)?).ok()
        };
        let name = text(0, 100)?;
        // Only POSIX's magic; GNU keeps other things there.
        match (self.field(257, 6), text(345, 155)?) {
            (b"ustar\0", prefix) if !prefix.is_empty() => Some(format!("{prefix}/{name}")),
            _ => Some(name.to_owned()),
        }
    }
}
