// SPDX-License-Identifier: MIT OR Apache-2.0

//! What systemd hears of a run, on a socket as it makes one.

use std::os::unix::net::UnixDatagram;

use crate::support::documents;
use crate::support::program_host::ProgramHost;

#[test]
fn systemd_hears_what_is_written_and_gives_more_time() {
    let host = ProgramHost::new();
    let path = host.file("run/notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let output = documents::output(host.command(["update"]).env("NOTIFY_SOCKET", &path));
    assert!(output.status.success(), "{output:?}");
    let mut messages = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length) = socket.recv(&mut buffer) {
        messages.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
    }
    let statuses: Vec<&str> = messages
        .iter()
        .map(|message| {
            let mut lines = message.lines();
            let status = lines.next().unwrap().strip_prefix("STATUS=").unwrap();
            assert_eq!(lines.next(), Some("EXTEND_TIMEOUT_USEC=1800000000"), "{message}");
            assert_eq!(lines.next(), None, "{message}");
            status
        })
        .collect();
    assert_eq!(statuses.first(), Some(&"looking for an update"));
    assert!(statuses.iter().any(|s| s.starts_with("writing 2 into slot B")), "{statuses:?}");
    assert!(statuses.contains(&"writing the boot entries"), "{statuses:?}");
    // One a phase, and what only progressed once a second.
    assert!(statuses.len() < 30, "{statuses:?}");
}

#[test]
fn a_socket_that_is_gone_is_no_trouble() {
    let host = ProgramHost::new();
    let path = host.file("run/nobody");
    let output = documents::output(host.command(["update"]).env("NOTIFY_SOCKET", path));
    assert!(output.status.success(), "{output:?}");
}
