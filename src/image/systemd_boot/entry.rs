// SPDX-License-Identifier: MIT OR Apache-2.0

//! The entries of slots in systemd-boot's directory (Boot Loader Specification, type #1;
//! <https://uapi-group.org/specifications/specs/boot_loader_specification>). Slots are named by their
//! letters.

/// An entry for a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoaderEntry {
    /// What people see in the menu.
    pub title: String,
    /// Whether it sorts before the other slot's.
    pub is_preferred: bool,
}

const SORT_KEY: &str = "sort-key   flipside-";

impl LoaderEntry {
    /// The whole file: less than a sector, and as long for a preferred entry as for another.
    pub fn contents(&self, slot: char) -> String {
        format!(
            "title      {}\n{SORT_KEY}{}\nefi        {}\n",
            one_title(&self.title),
            if self.is_preferred { '0' } else { '1' },
            efi_path(slot)
        )
    }

    /// Reads what [`Self::contents`] wrote, and nothing else: another entry is made anew.
    ///
    /// # Errors
    /// Why it is none, in words.
    pub fn parse(slot: char, bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is no text".to_owned())?;
        let title = text.strip_prefix("title      ").and_then(|rest| rest.split('\n').next());
        let title = title.unwrap_or_default();
        for is_preferred in [false, true] {
            let entry = Self { title: title.to_owned(), is_preferred };
            if entry.contents(slot) == text {
                return Ok(entry);
            }
        }
        Err(format!("it is not flipside's entry for slot {}", slot.to_ascii_uppercase()))
    }

    /// Where the one byte is by which a preferred entry differs from another.
    pub fn place_of_preference(contents: &str) -> usize {
        contents.rfind(SORT_KEY).map_or(0, |at| at.saturating_add(SORT_KEY.len()))
    }
}

/// The file of an entry whose tries are counted, less than a sector. Its sort-key comes before those
/// of the slots' own entries. It says `linux`, not `efi`: systemd-boot counts no tries of the latter
/// from 258 on (systemd#40405).
pub fn counted_entry(slot: char, title: &str) -> String {
    format!(
        "title      {} (trial)\nsort-key   flipside\nlinux      {}\n",
        one_title(title),
        efi_path(slot)
    )
}

/// The boot file of a slot, as entries name it.
pub fn efi_path(slot: char) -> String {
    format!("/EFI/flipside/boot-{slot}.efi")
}

/// A title that stays on its line, and the entry within a sector.
fn one_title(title: &str) -> String {
    let title: String =
        title.chars().map(|c| if c.is_control() { ' ' } else { c }).take(60).collect();
    title.trim().to_owned()
}
