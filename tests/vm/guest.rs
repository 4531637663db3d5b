// SPDX-License-Identifier: MIT OR Apache-2.0

//! The way to a running guest: `debian/files/usr/lib/vm/agent` on its second serial line, which
//! says when it is up and runs commands.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What a command came to.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: i32,
    /// Standard output and standard error, as they came.
    pub text: String,
}

#[derive(Debug)]
enum Said {
    /// A boot, by its ID.
    Ready(String),
    Done {
        id: u64,
        answer: Answer,
    },
}

/// The line to a guest.
pub struct Guest {
    stream: UnixStream,
    said: Receiver<Said>,
    sent: u64,
    boot: Option<String>,
}

impl Guest {
    /// Takes up the line at the socket `path`.
    ///
    /// # Errors
    /// QEMU does not offer it in time.
    pub fn connect(path: &Path) -> Result<Self> {
        let begun = Instant::now();
        let stream = loop {
            match UnixStream::connect(path) {
                Ok(stream) => break stream,
                Err(error) if begun.elapsed() > Duration::from_secs(20) => {
                    return Err(error).context("QEMU does not start: see its log");
                }
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let (sender, said) = mpsc::channel();
        let lines = BufReader::new(stream.try_clone()?);
        std::thread::spawn(move || {
            for line in lines.split(b'\n').map_while(std::io::Result::ok) {
                let line = String::from_utf8_lossy(&line);
                if let Some(said) = understand(&line)
                    && sender.send(said).is_err()
                {
                    break;
                }
            }
        });
        Ok(Self { stream, said, sent: 0, boot: None })
    }

    /// Waits for the next boot's first word; `false` where QEMU ends before.
    ///
    /// # Errors
    /// It does not come in time.
    pub fn wait_boot(&mut self, end: Instant) -> Result<bool> {
        loop {
            match self.said.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Said::Ready(boot)) if self.boot.as_ref() != Some(&boot) => {
                    self.boot = Some(boot);
                    return Ok(true);
                }
                // The agent was started again, or an answer came too late.
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => bail!("no system came up in time"),
                Err(RecvTimeoutError::Disconnected) => return Ok(false),
            }
        }
    }

    /// Runs `command` in a shell, and waits for its end.
    ///
    /// # Errors
    /// It does not end in time, or the guest is gone before.
    pub fn run(&mut self, command: &str, limit: Duration) -> Result<Answer> {
        self.send(command)?;
        let end = Instant::now() + limit;
        loop {
            match self.said.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Said::Done { id, answer }) if id == self.sent => return Ok(answer),
                Ok(Said::Done { .. }) => {}
                Ok(Said::Ready(boot)) => {
                    let rebooted = self.boot.replace(boot.clone()) != Some(boot);
                    bail!(
                        "`{command}` was cut off: the guest {}",
                        if rebooted { "booted" } else { "lost its shell" }
                    );
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("`{command}` has not ended after {} s", limit.as_secs())
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("`{command}` was cut off: QEMU has ended")
                }
            }
        }
    }

    /// Lets `command` run without waiting for anything.
    ///
    /// # Errors
    /// QEMU has ended.
    pub fn send(&mut self, command: &str) -> Result<()> {
        self.sent += 1;
        let line = format!("{} {}\n", self.sent, STANDARD.encode(command));
        self.stream.write_all(line.as_bytes()).map_err(|error| anyhow!("QEMU has ended: {error}"))
    }
}

fn understand(line: &str) -> Option<Said> {
    let mut words = line.trim().split(' ');
    match words.next()? {
        "ready" => Some(Said::Ready(words.next()?.to_owned())),
        "done" => {
            let id = words.next()?.parse().ok()?;
            let status = words.next()?.parse().ok()?;
            let text = STANDARD.decode(words.next().unwrap_or_default()).ok()?;
            let text = String::from_utf8_lossy(&text).into_owned();
            Some(Said::Done { id, answer: Answer { status, text } })
        }
        _ => None,
    }
}
