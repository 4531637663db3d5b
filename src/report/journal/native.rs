// SPDX-License-Identifier: MIT OR Apache-2.0

//! journald's native protocol: one datagram per entry
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use flipside_core::host::Root;

/// Where journald listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";

/// How long a journald that takes nothing is waited for. What is said then goes elsewhere.
const PATIENCE: Duration = Duration::from_secs(5);

/// The way to journald.
#[derive(Debug)]
pub struct Journald(UnixDatagram);

impl Journald {
    /// Connects to the journald of the host in `root`.
    ///
    /// # Errors
    /// Where none listens.
    pub fn of(root: &Root) -> io::Result<Self> {
        Self::at(&root.path(SOCKET))
    }

    fn at(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(socket))
    }

    /// Sends one entry, whole or not at all.
    ///
    /// # Errors
    /// Where journald went away, takes nothing, or where the entry is larger than a datagram
    /// may be (some 200 KiB).
    pub fn send(&self, entry: &Fields) -> io::Result<()> {
        let sent = self.0.send(&entry.0)?;
        if sent == entry.0.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

/// The fields of one entry, as they are sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields(Vec<u8>);

impl Fields {
    /// Adds a field. Its name is made one that journald takes: capital letters, digits and
    /// underscores, 64 of them at most, not beginning with a digit or an underscore; a name
    /// of which nothing is left adds nothing.
    pub fn push(&mut self, name: &str, value: &str) {
        let name = field_name(name);
        if name.is_empty() {
            return;
        }
        self.0.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            // With its length, 64 bits, little endian.
            self.0.push(b'\n');
            self.0.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }
}

/// systemd.journal-fields(7).
fn field_name(name: &str) -> String {
    name.chars()
        .map(|c| if c == '.' || c == '-' { '_' } else { c.to_ascii_uppercase() })
        .filter(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_')
        .skip_while(|c| !c.is_ascii_uppercase())
        .take(64)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_journald_takes() {
        for (name, field) in [
            ("message", "MESSAGE"),
            ("flipside_digest", "FLIPSIDE_DIGEST"),
            ("log.target", "LOG_TARGET"),
            ("r#type", "RTYPE"),
            ("_trusted", "TRUSTED"),
            ("1st", "ST"),
            ("größe", "GRE"),
            ("__9", ""),
        ] {
            assert_eq!(field_name(name), field, "{name}");
        }
        assert_eq!(field_name(&"x".repeat(70)).len(), 64);
    }

    #[test]
    fn a_value_of_several_lines_forges_no_field() {
        let mut fields = Fields::default();
        fields.push("message", "one\nPRIORITY=0");
        fields.push("_", "nothing");
        fields.push("code", "x=y");
        assert_eq!(fields.0, b"MESSAGE\n\x0e\0\0\0\0\0\0\0one\nPRIORITY=0\nCODE=x=y\n");
    }

    #[test]
    fn an_entry_arrives_as_one_datagram_or_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        assert_eq!(Journald::at(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        let listener = UnixDatagram::bind(&path).unwrap();
        let journald = Journald::at(&path).unwrap();
        let mut fields = Fields::default();
        fields.push("message", "hello");
        journald.send(&fields).unwrap();
        let mut bytes = [0; 64];
        let length = listener.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"MESSAGE=hello\n");
        fields.push("more", &"x".repeat(8 << 20));
        assert!(journald.send(&fields).is_err());
        drop(listener);
        assert!(journald.send(&Fields::default()).is_err());
    }
}
