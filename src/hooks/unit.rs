// SPDX-License-Identifier: MIT OR Apache-2.0

//! A program as a transient unit of systemd (org.freedesktop.systemd1(5), `StartTransientUnit`):
//! in a sandbox, its processes counted and limited together, and none of them left behind.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::ops::RangeInclusive;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use zbus::{Fd, OwnedObjectPath, OwnedVariant, Variant};

use super::GRACE;
use super::converse::Running;
use super::dialogue::Pipes;
use super::ended::Ended;
use super::program::{Limits, Program};
use super::sandbox::{self, Properties};
use crate::system::bus::{Bus, CallError, Object};
use flipside_image::redact::has_user;

const SERVICE: &str = "org.freedesktop.systemd1";
const MANAGER: Object<'static> = Object {
    service: SERVICE,
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};

/// How often to ask about a unit whose first process still runs.
const GLANCE: Duration = Duration::from_secs(1);

/// How soon, and how many times, to ask after that process has ended.
const NOTICE: (Duration, u32) = (Duration::from_millis(5), 20);

/// `CLD_EXITED` of waitid(2), as `ExecMainCode` has it; 0 is a program that never ran.
const EXITED: i32 = 1;

/// Exit statuses of systemd's own (systemd.exec(5), "Process Exit Codes"): it did not get as far
/// as the program.
const SYSTEMDS_OWN: RangeInclusive<i32> = 200..=245;

/// A unit, kept by systemd for as long as we are there to ask about it.
pub(super) struct Unit<'a> {
    bus: &'a Bus,
    name: String,
    path: OwnedObjectPath,
    /// Of its first process, once that is known.
    pidfd: Option<OwnedFd>,
    asked: Option<Instant>,
    /// Read by systemd when it starts the program.
    _secrets: Option<SecretFile>,
}

/// The part of an environment that others may not see: systemd shows `Environment=` of a unit to
/// every user who asks. Removed with this value.
struct SecretFile(PathBuf);

impl SecretFile {
    /// `None` where nothing of it is secret.
    fn of(program: &Program<'_>) -> io::Result<Option<Self>> {
        let secret = program.environment.iter().filter(|(_, value)| has_user(value));
        // systemd.exec(5), `EnvironmentFile=`.
        let quoted = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"");
        let lines: String =
            secret.map(|(name, value)| format!("{name}=\"{}\"\n", quoted(value))).collect();
        if lines.is_empty() {
            return Ok(None);
        }
        let name = format!("run/flipside/environment.{}", std::process::id());
        let path = program.directory.join(name);
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let _ = std::fs::remove_file(&path);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let this = Self(path);
        file.write_all(lines.as_bytes())?;
        Ok(Some(this))
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl<'a> Unit<'a> {
    /// # Errors
    /// systemd's: where that has a name, the unit was not started.
    pub fn start(
        bus: &'a Bus,
        program: &Program<'_>,
        pipes: &Pipes,
        limits: &Limits,
    ) -> Result<Self, CallError> {
        let name = name(program.name);
        let unclear = |error: io::Error| CallError { name: None, message: error.to_string() };
        // systemd hands over three descriptors and no more.
        let stdin = program.body.unwrap_or(pipes.stdin.as_fd());
        let secrets = SecretFile::of(program).map_err(unclear)?;
        let mut properties: Properties<'_> = sandbox::properties(program.sandbox, limits);
        properties.extend([
            ("Description", Variant::from(format!("flipside: {} {}", program.kind, program.name))),
            ("ExecStartEx", command(program).map_err(unclear)?),
            ("WorkingDirectory", Variant::from(program.directory.to_string_lossy().into_owned())),
            ("Environment", Variant::from(environment(program))),
            ("StandardInputFileDescriptor", Variant::from(Fd::from(stdin))),
            ("StandardOutputFileDescriptor", Variant::from(Fd::from(pipes.stdout.as_fd()))),
            ("StandardErrorFileDescriptor", Variant::from(Fd::from(pipes.stderr.as_fd()))),
        ]);
        if let Some(SecretFile(path)) = &secrets {
            let files = vec![(path.to_string_lossy().into_owned(), false)];
            properties.extend([("EnvironmentFiles", Variant::from(files))]);
        }
        let further: Vec<(&str, Vec<(&str, Variant<'_>)>)> = Vec::new();
        let arguments = (name.as_str(), "fail", properties, further);
        bus.call::<_, OwnedObjectPath>(MANAGER, "StartTransientUnit", &arguments)?;
        let path = bus
            .call(MANAGER, "GetUnit", &name.as_str())
            .map_err(|error| CallError { name: None, ..error })?;
        Ok(Self { bus, name, path, pidfd: None, asked: None, _secrets: secrets })
    }

    fn property<T>(&self, interface: &'static str, name: &str) -> Option<T>
    where
        T: TryFrom<OwnedVariant>,
        T::Error: std::fmt::Display,
    {
        let unit = Object { service: SERVICE, path: self.path.as_str(), interface };
        self.bus.property(unit, name).ok()
    }

    fn service<T>(&self, name: &str) -> Option<T>
    where
        T: TryFrom<OwnedVariant>,
        T::Error: std::fmt::Display,
    {
        self.property("org.freedesktop.systemd1.Service", name)
    }

    fn is_over(&self) -> bool {
        let state: Option<String> = self.property("org.freedesktop.systemd1.Unit", "ActiveState");
        matches!(state.as_deref(), Some("inactive" | "failed"))
    }

    fn find_process(&mut self) {
        let pid = self.service::<u32>("MainPID").and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.and_then(Pid::from_raw);
        self.pidfd = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    }
}

impl Running for Unit<'_> {
    fn process(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(|pidfd| pidfd.as_fd())
    }

    fn has_ended(&mut self) -> bool {
        if self.pidfd.as_ref().is_some_and(is_readable) {
            self.pidfd = None;
            let (pause, times) = NOTICE;
            for _ in 0..times {
                if self.is_over() {
                    return true;
                }
                std::thread::sleep(pause);
            }
            self.asked = Some(Instant::now());
            return false;
        }
        let pause = if self.pidfd.is_some() { GLANCE } else { super::TICK };
        if self.asked.is_some_and(|asked| asked.elapsed() < pause) {
            return false;
        }
        self.asked = Some(Instant::now());
        if self.is_over() {
            return true;
        }
        if self.pidfd.is_none() {
            self.find_process();
        }
        false
    }

    fn outcome(&mut self) -> io::Result<Ended> {
        let result: Option<String> = self.service("Result");
        let code: Option<i32> = self.service("ExecMainCode");
        let status: Option<i32> = self.service("ExecMainStatus");
        let (Some(result), Some(code), Some(status)) = (result, code, status) else {
            return Ok(Ended::NotRun("systemd does not say how it ended".to_owned()));
        };
        Ok(ended(&result, code, status))
    }

    fn end(&mut self) {
        let stopped = self.bus.call::<_, OwnedObjectPath>(
            MANAGER,
            "StopUnit",
            &(self.name.as_str(), "replace"),
        );
        if let Err(error) = stopped {
            tracing::debug!("{} cannot be stopped: {}", self.name, error.message);
        }
    }

    /// systemd does the same by itself once `TimeoutStopUSec` is over.
    fn kill(&mut self) {
        let _ = self.bus.call::<_, ()>(MANAGER, "KillUnit", &(self.name.as_str(), "all", 9_i32));
        let begun = Instant::now();
        while begun.elapsed() < GRACE {
            if self.is_over() {
                return;
            }
            std::thread::sleep(NOTICE.0);
        }
        tracing::warn!("{} does not end, even by SIGKILL", self.name);
    }
}

impl Drop for Unit<'_> {
    /// systemd forgets it then.
    fn drop(&mut self) {
        let _ = self.bus.call::<_, ()>(MANAGER, "UnrefUnit", &self.name.as_str());
    }
}

/// What systemd says of the end of a unit, from its properties `Result`, `ExecMainCode` and
/// `ExecMainStatus`.
fn ended(result: &str, code: i32, status: i32) -> Ended {
    match (result, code) {
        ("oom-kill", _) => Ended::OutOfMemory,
        // Whoever ended by himself has answered: what was too slow to go is what he left behind.
        ("timeout", code) if code != EXITED => Ended::TimedOut,
        (_, 0) => Ended::NotRun(format!("systemd did not start it ({result})")),
        (_, EXITED) if SYSTEMDS_OWN.contains(&status) => Ended::NotRun(format!(
            "systemd gave up on it with status {status} (systemd.exec(5), \"Process Exit Codes\")"
        )),
        (_, EXITED) => Ended::Itself(ExitStatus::from_raw(status << 8)),
        (_, _) => Ended::Itself(ExitStatus::from_raw(status)),
    }
}

fn is_readable(pidfd: &OwnedFd) -> bool {
    let mut ends = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut ends, PollTimeout::ZERO), Ok(1..))
}

/// A name that nobody else has (systemd.unit(5): 256 characters, of a few kinds).
fn name(program: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let plain: String =
        program.chars().take(64).map(|c| if is_plain(c) { c } else { '_' }).collect();
    let mark = uuid::Uuid::new_v4().simple().to_string();
    format!("flipside-hook-{plain}-{}.service", mark.get(..8).unwrap_or_default())
}

/// `a(sasas)`: path, words, flags. A program without a file is the unit's stdin, and `flipside
/// hooks exec` becomes it.
fn command(program: &Program<'_>) -> io::Result<Variant<'static>> {
    let text = |text: &OsStr| text.to_string_lossy().into_owned();
    let (path, arguments) = match program.body {
        Some(_) => {
            let document = String::from_utf8_lossy(program.input).trim_end().to_owned();
            let own = std::env::current_exe()?;
            (text(own.as_os_str()), vec!["hooks".to_owned(), "exec".to_owned(), document])
        }
        None => {
            let arguments = program.arguments.iter().map(|word| text(word)).collect();
            (text(program.path.as_os_str()), arguments)
        }
    };
    let words: Vec<String> = std::iter::once(path.clone()).chain(arguments).collect();
    let flags = vec!["no-env-expand".to_owned()];
    Ok(Variant::from(vec![(path, words, flags)]))
}

fn environment(program: &Program<'_>) -> Vec<String> {
    let shown = program.environment.iter().filter(|(_, value)| !has_user(value));
    shown.map(|(name, value)| format!("{name}={value}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::Sandbox;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_proxys_password_is_not_shown_as_a_property_of_the_unit() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("run/flipside")).unwrap();
        let proxy = "http://user:se\"cr\\et@proxy.example:3128".to_owned();
        let variables = [("PATH", "/bin".to_owned()), ("https_proxy", proxy)];
        let program = Program {
            kind: "hook",
            name: "x",
            path: std::path::Path::new("/bin/true"),
            arguments: Vec::new(),
            directory: directory.path(),
            environment: &variables,
            input: b"",
            sandbox: Sandbox::Delegated,
            body: None,
        };
        assert_eq!(environment(&program), ["PATH=/bin"]);
        let file = SecretFile::of(&program).unwrap().unwrap();
        let path = file.0.clone();
        let text = std::fs::read_to_string(&path).unwrap();
        let expected = r#"https_proxy="http://user:se\"cr\\et@proxy.example:3128""#;
        assert_eq!(text.trim_end(), expected);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        drop(file);
        assert!(!path.exists());
        let open = Program { environment: &variables[..1], ..program };
        assert!(SecretFile::of(&open).unwrap().is_none());
    }

    #[test]
    fn the_result_of_a_unit_is_the_answer_of_the_hook() {
        let exit = |status: i32| Ended::Itself(ExitStatus::from_raw(status << 8));
        for (result, code, status, expected) in [
            ("success", 1, 0, exit(0)),
            ("exit-code", 1, 75, exit(75)),
            ("exit-code", 1, 1, exit(1)),
            ("exit-code", 1, 255, exit(255)),
            ("signal", 2, 9, Ended::Itself(ExitStatus::from_raw(9))),
            ("core-dump", 3, 11, Ended::Itself(ExitStatus::from_raw(11))),
            ("oom-kill", 2, 9, Ended::OutOfMemory),
            ("timeout", 2, 15, Ended::TimedOut),
            ("timeout", 0, 0, Ended::TimedOut),
            // It left something behind that would not end.
            ("timeout", 1, 0, exit(0)),
            ("timeout", 1, 75, exit(75)),
            // A unit of which nothing is known any more looks like a success.
            ("success", 0, 0, Ended::NotRun("systemd did not start it (success)".to_owned())),
            ("resources", 0, 0, Ended::NotRun("systemd did not start it (resources)".to_owned())),
        ] {
            assert_eq!(ended(result, code, status), expected, "{result} {code} {status}");
        }
        assert!(matches!(ended("exit-code", 1, 203), Ended::NotRun(_)));
    }

    #[test]
    fn names_of_units_are_systemds() {
        let long = "é/ %".repeat(100);
        for program in ["10-check", "", "a b@c$d", &long] {
            let name = name(program);
            assert!(name.len() < 255 && name.starts_with("flipside-hook-"), "{name}");
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            assert!(name.chars().all(is_plain), "{name}");
        }
        assert_ne!(name("x"), name("x"));
    }
}
