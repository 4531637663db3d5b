// SPDX-License-Identifier: MIT OR Apache-2.0

//! A journald that only listens: entries are read from its socket as the protocol defines
//! them (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).

use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// The fields of one entry.
pub type Fields = BTreeMap<String, String>;

pub struct Journald(UnixDatagram);

impl Journald {
    /// Listens where the programs of the host in `root` speak.
    pub fn of(root: &Path) -> Self {
        let path = root.join("run/systemd/journal/socket");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self(socket)
    }

    /// The entries since the last call, the oldest first.
    pub fn entries(&self) -> Vec<Fields> {
        let mut bytes = vec![0; 256 << 10];
        let mut entries = Vec::new();
        // What is received is in the socket's queue, where ten wait for a slow reader.
        while let Ok(length) = self.0.recv(&mut bytes) {
            entries.push(parse(&bytes[..length]));
        }
        entries
    }
}

fn parse(mut bytes: &[u8]) -> Fields {
    let mut fields = Fields::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|b| *b == b'\n').unwrap();
        let line = std::str::from_utf8(&bytes[..end]).unwrap();
        bytes = &bytes[end + 1..];
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => {
                let (length, rest) = bytes.split_first_chunk().unwrap();
                let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
                let value = std::str::from_utf8(&rest[..length]).unwrap().to_owned();
                assert_eq!(rest[length], b'\n', "{line}");
                bytes = &rest[length + 1..];
                (line, value)
            }
        };
        assert!(fields.insert(name.to_owned(), value).is_none(), "{name} twice");
    }
    fields
}
