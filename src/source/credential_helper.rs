// SPDX-License-Identifier: MIT OR Apache-2.0

//! Docker's credential helpers: `docker-credential-NAME get`, the server's name
//! on stdin, JSON on stdout (docker-credential-helpers, "Development").

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use flipside_core::cancel::Cancel;
use flipside_core::host::Root;
use flipside_image::printable;
use flipside_image::redact::redact;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Deserialize;

use super::SourceError;
use super::secret::{Credentials, Environment, Secret, home};

/// How long a helper may take: some ask a cloud's metadata service.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// The most bytes of output that are read.
const OUTPUT_LIMIT: u64 = 64 << 10;
/// The name that stands for "the secret is an identity token".
const TOKEN_USER: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// What the helper called `name` knows of `server`; `None` where it says that
/// it knows nothing.
///
/// # Errors
/// [`SourceError::HelperFailed`], [`SourceError::Stopped`].
pub(super) fn get(
    name: &str,
    server: &str,
    root: &Root,
    environment: Environment<'_>,
    stop: &Cancel,
) -> Result<Option<Credentials>, SourceError> {
    let helper = format!("docker-credential-{name}");
    let failed = |reason: String| SourceError::HelperFailed { helper: helper.clone(), reason };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(plain) {
        return Err(failed("its name has other characters than letters, digits, - _ and .".into()));
    }
    let program = find(&helper, root, environment)
        .ok_or_else(|| failed("there is no such program in PATH".into()))?;
    let mut command = Command::new(&program);
    if let Some(home) = home(root, environment) {
        command.env("HOME", home);
    }
    let mut running = Running::start(command, server).map_err(|e| failed(e.to_string()))?;
    let (succeeded, output) = running.finish(stop, &failed)?;
    let with_words = |reason: &str| failed(format!("{reason}{}", running.words()));
    if !succeeded {
        let text = String::from_utf8_lossy(&output);
        if text.contains("credentials not found") {
            return Ok(None);
        }
        return Err(with_words("it ended with an error"));
    }
    let answer: Answer = serde_json::from_slice(&output)
        .map_err(|_| with_words("its answer is not the JSON that is expected"))?;
    let secret = match answer {
        Answer { secret, .. } if secret.is_empty() => return Ok(None),
        Answer { username, secret } if username == TOKEN_USER => Secret::IdentityToken(secret),
        Answer { username, secret } => Secret::Password { username, password: secret },
    };
    Ok(Some(Credentials { secret, origin: helper }))
}

/// The helper in the directories of PATH, below the root as everything.
fn find(helper: &str, root: &Root, environment: Environment<'_>) -> Option<PathBuf> {
    let path = environment("PATH")
        .unwrap_or_else(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin".into());
    std::env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| root.path(directory).join(helper))
        .find(|candidate| candidate.is_file())
}

/// A helper and what it started; all of it ends with this value.
struct Running {
    child: Child,
    output: mpsc::Receiver<Vec<u8>>,
    /// What it writes to stderr.
    errors: mpsc::Receiver<Vec<u8>>,
}

impl Running {
    fn start(mut command: Command, server: &str) -> std::io::Result<Self> {
        let mut child = command
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let (to_output, output) = mpsc::channel();
        let (to_errors, errors) = mpsc::channel();
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let running = Self { child, output, errors };
        if let Some(mut stdin) = stdin {
            // Short enough for the pipe, so this does not block. A helper that does
            // not read it says so by its answer.
            let _ = writeln!(stdin, "{server}");
        }
        read(stdout, to_output)?;
        read(stderr, to_errors)?;
        Ok(running)
    }

    /// What it wrote to stderr, in one line behind a colon. Whoever it left behind may hold its end
    /// open, which is not waited for.
    fn words(&self) -> String {
        let bytes = self.errors.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
        match printable::line(&redact(&String::from_utf8_lossy(&bytes)), 200) {
            words if words.is_empty() => words,
            words => format!(": {words}"),
        }
    }

    /// Waits for the end: whether it was a success, and the output.
    fn finish(
        &mut self,
        stop: &Cancel,
        failed: &dyn Fn(String) -> SourceError,
    ) -> Result<(bool, Vec<u8>), SourceError> {
        let deadline = Instant::now() + TIME_LIMIT;
        let mut output = None;
        let mut status = None;
        while output.is_none() || status.is_none() {
            stop.check()?;
            if Instant::now() > deadline {
                return Err(failed(format!("it did not answer in {} s", TIME_LIMIT.as_secs())));
            }
            if status.is_none() {
                status = self.child.try_wait().map_err(|e| failed(e.to_string()))?;
            }
            match self.output.recv_timeout(Duration::from_millis(20)) {
                Ok(bytes) => output = Some(bytes),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    output.get_or_insert_with(Vec::new);
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
        Ok((status.is_some_and(|s| s.success()), output.unwrap_or_default()))
    }
}

/// Reads a stream of the helper in a thread of its own, and sends what there is at its end.
fn read(
    stream: Option<impl Read + Send + 'static>,
    sender: mpsc::Sender<Vec<u8>>,
) -> std::io::Result<()> {
    let Some(stream) = stream else { return Ok(()) };
    let thread = std::thread::Builder::new().name("flipside-helper".into());
    let read = thread.spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.take(OUTPUT_LIMIT).read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    read.map(drop)
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            if let Ok(group) = i32::try_from(self.child.id()) {
                let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
            let _ = self.child.wait();
        }
    }
}
