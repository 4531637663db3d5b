// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reading the journal of a boot. Its files belong to journald, so `journalctl` reads them, as a
//! child: its text is kept as it is, and only its JSON is understood.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Deserialize;

use super::Arming;
use flipside_core::host::Root;

/// Where persistent journals are.
const DIRECTORY: &str = "/var/log/journal";

/// How long `journalctl` may take. It reads from the disk, and a promotion waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many boots are looked at, from the newest back.
const BOOTS: u32 = 12;

/// The most lines of a boot that are asked for; far more than are kept.
const LINES: u32 = 20_000;

/// The end of the present boot's journal, `limit` bytes of it at most.
pub fn of_this_boot(root: &Root, boot_id: &str, limit: usize) -> Option<Vec<u8>> {
    if root.is_live() {
        // What was said a moment ago is what matters most.
        let _ = run(vec!["--sync".into()], 0);
        return text(Vec::new(), boot_id, limit);
    }
    text(vec![directory(root)?], boot_id, limit)
}

/// The boot of the trial that followed `arming`, and the end of its journal. Only the
/// persistent journal has it; whose machine ID it was written under does not matter.
pub fn of_trial(
    root: &Root,
    arming: Option<&Arming>,
    this_boot: &str,
    limit: usize,
) -> Option<(String, Vec<u8>)> {
    let directory = directory(root)?;
    let boots = (0..BOOTS).map_while(|back| last_of_boot(&directory, back));
    let boot_id = trial(boots, arming, &plain(this_boot))?;
    let text = text(vec![directory], &boot_id, limit)?;
    Some((boot_id, text))
}

fn directory(root: &Root) -> Option<OsString> {
    let path = root.path(DIRECTORY);
    let mut argument = OsString::from("--directory=");
    argument.push(&path);
    path.is_dir().then_some(argument)
}

/// The last entry of a boot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Last {
    #[serde(rename = "_BOOT_ID")]
    boot_id: String,
    /// Microseconds since 1970, as text.
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    time: String,
}

impl Last {
    fn time(&self) -> Option<Timestamp> {
        Timestamp::from_microsecond(self.time.parse().ok()?).ok()
    }
}

/// `back` boots before the newest that the journal has.
fn last_of_boot(directory: &OsString, back: u32) -> Option<Last> {
    let mut arguments = vec![directory.clone()];
    let rest = ["--lines=1", "--output=json", "--output-fields=_BOOT_ID"];
    arguments.push(format!("--boot=-{back}").into());
    arguments.extend(rest.map(OsString::from));
    serde_json::from_slice(&run(arguments, 64 << 10).ok()?).ok()
}

/// Which of `boots`, the newest first, was the trial: the one after the boot that armed it. The
/// old system may have booted several times since. Where nobody knows when it was armed, it is
/// taken for the one before this.
fn trial(
    boots: impl Iterator<Item = Last>,
    arming: Option<&Arming>,
    this_boot: &str,
) -> Option<String> {
    let mut boots = boots.filter(|boot| boot.boot_id != this_boot);
    let Some(arming) = arming else { return boots.next().map(|boot| boot.boot_id) };
    let armed_in = plain(&arming.boot_id);
    // A journal that is as old as the arming is not the trial's, whatever boot it is of.
    let is_since = |boot: &Last| {
        boot.boot_id != armed_in && boot.time().is_some_and(|time| time > arming.time)
    };
    boots.take_while(is_since).last().map(|boot| boot.boot_id)
}

/// As journald writes boot IDs: without dashes.
fn plain(boot_id: &str) -> String {
    boot_id.chars().filter(char::is_ascii_hexdigit).collect()
}

fn text(mut arguments: Vec<OsString>, boot_id: &str, limit: usize) -> Option<Vec<u8>> {
    let boot_id = plain(boot_id);
    if boot_id.is_empty() {
        return None;
    }
    arguments.push(format!("--boot={boot_id}").into());
    arguments.push(format!("--lines={LINES}").into());
    arguments.extend(["--output=short-iso", "--no-hostname"].map(OsString::from));
    match run(arguments, limit) {
        Ok(text) => Some(text).filter(|text| !text.trim_ascii().is_empty()),
        Err(error) => {
            tracing::debug!("journalctl does not show boot {boot_id}: {error}");
            None
        }
    }
}

/// The last `limit` bytes that `journalctl` prints; it gets [`PATIENCE`].
fn run(arguments: Vec<OsString>, limit: usize) -> io::Result<Vec<u8>> {
    let mut child = Command::new("journalctl")
        .args(["--quiet", "--no-pager"])
        .args(arguments)
        .envs([("LC_ALL", "C.UTF-8"), ("SYSTEMD_COLORS", "0"), ("SYSTEMD_URLIFY", "0")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let read = read_end(&mut child, limit, Instant::now() + PATIENCE);
    // Where it printed everything it has ended, or does so at once.
    if read.is_err() {
        let _ = child.kill();
    }
    let status = child.wait()?;
    let text = read?;
    if status.success() { Ok(text) } else { Err(io::Error::other(status.to_string())) }
}

fn read_end(child: &mut Child, limit: usize, deadline: Instant) -> io::Result<Vec<u8>> {
    let Some(mut stdout) = child.stdout.take() else { return Ok(Vec::new()) };
    let (mut kept, mut chunk) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = PollTimeout::try_from(left).map_err(io::Error::other)?;
        let mut news = [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
        // Also one that never stops printing.
        if poll(&mut news, left)? == 0 || Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let length = stdout.read(&mut chunk)?;
        if length == 0 {
            break;
        }
        kept.extend_from_slice(chunk.get(..length).unwrap_or_default());
        if kept.len() > 2 * limit {
            kept.drain(..kept.len() - limit);
        }
    }
    kept.drain(..kept.len().saturating_sub(limit));
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a9`: boot `a`, whose last entry is 9 seconds after 1970.
    fn boots(text: &str) -> impl Iterator<Item = Last> {
        text.split_whitespace().map(|boot| Last {
            boot_id: boot[..1].to_owned(),
            time: format!("{}000000", &boot[1..]),
        })
    }

    #[test]
    fn the_trial_is_the_boot_after_the_one_that_armed_it() {
        // This boot is `f`; `a` armed at 3 s.
        for (known, journal, expected) in [
            (true, "f9 b5 a3 e1", Some("b")),
            // The trial left nothing, or none of this was kept.
            (true, "f9 a4 e1", None),
            (true, "", None),
            // The old system has booted since, and the trial came before that.
            (true, "f9 d8 c7 b5 a3", Some("b")),
            // The boot that armed it is in the journal no more, or never was.
            (true, "f9 b5", Some("b")),
            (true, "f9 b5 e1", Some("b")),
            (true, "f9 e1", None),
            // This boot keeps no journal on the disk.
            (true, "b5 a3", Some("b")),
            (false, "f9 b5 a3", Some("b")),
            (false, "f9", None),
        ] {
            let time = Timestamp::from_second(3).unwrap();
            let arming = Arming { boot_id: "a".to_owned(), time };
            let found = trial(boots(journal), known.then_some(&arming), "f");
            assert_eq!(found.as_deref(), expected, "{journal}");
        }
    }

    #[test]
    fn who_never_stops_printing_is_not_waited_for() {
        let mut child = Command::new("yes").stdout(Stdio::piped()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_millis(200);
        let read = read_end(&mut child, 100, deadline);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn boot_ids_lose_their_dashes() {
        assert_eq!(plain("0b5e-01\n"), "0b5e01");
    }
}
