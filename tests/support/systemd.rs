// SPDX-License-Identifier: MIT OR Apache-2.0

//! systemd played on a private bus that is a host's system bus: transient services are processes
//! that it starts for real, with the descriptors and the environment that it was given, and without
//! their sandbox.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zbus::{ObjectServer, OwnedObjectPath, OwnedVariant, Variant};

use super::bus::{Bus, Served};

/// What the played systemd is like, and what was asked of it.
#[derive(Default)]
pub struct World {
    /// In their order, such as `StopUnit replace`.
    pub calls: Vec<String>,
    /// The properties of the last unit, printed.
    pub properties: BTreeMap<String, String>,
    /// Answers `StartTransientUnit` with an error.
    pub refuses: bool,
    /// Says this of every end instead of what happened: `Result`, `ExecMainCode`, `ExecMainStatus`.
    pub result: Option<(&'static str, i32, i32)>,
}

type Shared = Arc<Mutex<World>>;

/// A bus with it, found at the host's own socket.
pub struct PlayedSystemd {
    world: Shared,
    _served: Served,
    _bus: Bus,
}

impl PlayedSystemd {
    /// Plays it for the host below `root`, which it has booted.
    pub fn of(root: &Path) -> Self {
        let (bus, world) = (Bus::start(), Shared::default());
        let address = bus.address().strip_prefix("unix:path=").unwrap();
        let socket = address.split(',').next().unwrap();
        std::fs::create_dir_all(root.join("run/dbus")).unwrap();
        std::fs::create_dir_all(root.join("run/systemd/system")).unwrap();
        std::os::unix::fs::symlink(socket, root.join("run/dbus/system_bus_socket")).unwrap();
        let manager = Manager { world: world.clone(), units: Mutex::default() };
        let served = bus.serve("org.freedesktop.systemd1", "/org/freedesktop/systemd1", manager);
        Self { world, _served: served, _bus: bus }
    }

    /// Changes the world, or looks at it.
    pub fn with<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut lock(&self.world))
    }

    /// What was asked since the last time.
    pub fn calls(&self) -> Vec<String> {
        self.with(|world| std::mem::take(&mut world.calls))
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.DBus.Error")]
enum BusError {
    #[zbus(error)]
    ZBus(zbus::Error),
    AccessDenied(String),
}

type Properties = Vec<(String, OwnedVariant)>;

struct Manager {
    world: Shared,
    units: Mutex<BTreeMap<String, Shown>>,
}

/// A unit as its properties show it.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    pid: u32,
    /// `Result`, `ExecMainCode`, `ExecMainStatus`.
    ended: Option<(String, i32, i32)>,
}

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    async fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        properties: Properties,
        further: Vec<(String, Properties)>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<OwnedObjectPath, BusError> {
        assert!(further.is_empty() && name.starts_with("flipside-hook-"), "{name}");
        if lock(&self.world).refuses {
            return Err(BusError::AccessDenied("Permission denied".into()));
        }
        let (mut command, printed) = command(properties);
        let result = {
            let mut world = lock(&self.world);
            world.calls.push(format!("StartTransientUnit {mode}"));
            world.properties = printed;
            world.result
        };
        let unit = Shown::default();
        match command.spawn() {
            Ok(mut child) => {
                lock(&unit.0).pid = child.id();
                let shown = unit.clone();
                std::thread::spawn(move || {
                    let status = child.wait().unwrap();
                    lock(&shown.0).ended = Some(match result {
                        Some((result, code, status)) => (result.to_owned(), code, status),
                        None => ended(status),
                    });
                });
            }
            Err(_) => lock(&unit.0).ended = Some(("exit-code".to_owned(), 1, 203)),
        }
        // Our ends of its pipes go with the command.
        drop(command);
        let at = path(name);
        server.at(at.as_str(), Service(unit.clone())).await?;
        server.at(at.as_str(), Unit(unit.clone())).await?;
        lock(&self.units).insert(name.to_owned(), unit);
        Ok(OwnedObjectPath::try_from("/job/1").unwrap())
    }

    fn get_unit(&self, name: &str) -> OwnedObjectPath {
        assert!(lock(&self.units).contains_key(name), "{name}");
        path(name)
    }

    fn stop_unit(&self, name: &str, mode: &str) -> OwnedObjectPath {
        lock(&self.world).calls.push(format!("StopUnit {mode}"));
        self.kill(name, "TERM");
        OwnedObjectPath::try_from("/job/2").unwrap()
    }

    fn kill_unit(&self, name: &str, whom: &str, signal: i32) {
        lock(&self.world).calls.push(format!("KillUnit {whom} {signal}"));
        self.kill(name, "KILL");
    }

    fn unref_unit(&self, name: &str) {
        lock(&self.world).calls.push("UnrefUnit".to_owned());
        lock(&self.units).remove(name);
    }
}

impl Manager {
    fn kill(&self, name: &str, signal: &str) {
        let pid = lock(&lock(&self.units)[name].0).pid;
        let mut kill = Command::new("/bin/kill");
        let _ = kill.args([format!("-{signal}"), "--".to_owned(), format!("-{pid}")]).status();
    }
}

fn path(name: &str) -> OwnedObjectPath {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    OwnedObjectPath::try_from(format!("/org/freedesktop/systemd1/unit/{plain}")).unwrap()
}

fn ended(status: ExitStatus) -> (String, i32, i32) {
    match (status.code(), status.signal()) {
        (Some(0), _) => ("success".to_owned(), 1, 0),
        (Some(code), _) => ("exit-code".to_owned(), 1, code),
        (None, signal) => ("signal".to_owned(), 2, signal.unwrap()),
    }
}

/// What the unit runs, and its other properties, printed.
fn command(properties: Properties) -> (Command, BTreeMap<String, String>) {
    let mut printed = BTreeMap::new();
    let mut command = None;
    let mut fds: BTreeMap<String, OwnedFd> = BTreeMap::new();
    let (mut directory, mut environment) = (String::new(), Vec::new());
    for (name, value) in properties {
        match name.as_str() {
            "ExecStartEx" => {
                let rows = Vec::<(String, Vec<String>, Vec<String>)>::try_from(value).unwrap();
                let [(path, words, flags)] = rows.as_slice() else { panic!("{rows:?}") };
                assert_eq!(flags, &["no-env-expand"]);
                let mut built = Command::new(path);
                built.arg0(&words[0]).args(&words[1..]);
                command = Some(built);
            }
            "StandardInputFileDescriptor"
            | "StandardOutputFileDescriptor"
            | "StandardErrorFileDescriptor" => {
                let Variant::Fd(fd) = Variant::from(value) else {
                    panic!("{name} is no descriptor")
                };
                fds.insert(name, fd.try_into().unwrap());
            }
            "WorkingDirectory" => directory = String::try_from(value).unwrap(),
            "Environment" => environment = Vec::<String>::try_from(value).unwrap(),
            _ => {
                let known = printed.insert(name.clone(), value.to_string());
                assert!(known.is_none(), "{name} twice");
            }
        }
    }
    let mut command = command.unwrap();
    let mut fd = |name: &str| fds.remove(&format!("Standard{name}FileDescriptor")).unwrap();
    command
        .stdin(fd("Input"))
        .stdout(fd("Output"))
        .stderr(fd("Error"))
        .env_clear()
        .envs(environment.iter().map(|pair| pair.split_once('=').unwrap()))
        // As systemd does.
        .env("INVOCATION_ID", "0123456789abcdef0123456789abcdef")
        .current_dir(directory)
        .process_group(0);
    (command, printed)
}

struct Unit(Shown);

#[zbus::interface(name = "org.freedesktop.systemd1.Unit")]
impl Unit {
    #[zbus(property)]
    fn active_state(&self) -> &'static str {
        match &lock(&self.0.0).ended {
            None => "active",
            Some((result, ..)) if result == "success" => "inactive",
            Some(_) => "failed",
        }
    }
}

struct Service(Shown);

#[zbus::interface(name = "org.freedesktop.systemd1.Service")]
impl Service {
    #[zbus(property, name = "MainPID")]
    fn main_pid(&self) -> u32 {
        let state = lock(&self.0.0);
        if state.ended.is_some() { 0 } else { state.pid }
    }

    #[zbus(property)]
    fn result(&self) -> String {
        let state = lock(&self.0.0);
        state.ended.as_ref().map_or("success".to_owned(), |(result, ..)| result.clone())
    }

    #[zbus(property)]
    fn exec_main_code(&self) -> i32 {
        lock(&self.0.0).ended.as_ref().map_or(0, |(_, code, _)| *code)
    }

    #[zbus(property)]
    fn exec_main_status(&self) -> i32 {
        lock(&self.0.0).ended.as_ref().map_or(0, |(.., status)| *status)
    }
}
