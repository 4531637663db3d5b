// SPDX-License-Identifier: MIT OR Apache-2.0

//! logind and systemd played on a private bus that is a host's system bus: what they are asked
//! for is noted, and nothing reboots.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use zbus::{OwnedObjectPath, OwnedVariant};

use super::bus::{Bus, Served, runtime};

/// What the played services are like, and what was asked of them.
#[derive(Default)]
pub struct World {
    /// In their order, such as `RebootWithFlags 1`.
    pub calls: Vec<String>,
    /// What, who, why, mode.
    pub inhibitors: Vec<[&'static str; 4]>,
    /// Terminal, class, type, state.
    pub sessions: Vec<[&'static str; 4]>,
    /// Answers `RebootWithFlags` with this error.
    pub refuses: bool,
    scheduled: (String, u64),
    /// What everybody reads before a shutdown.
    pub wall: String,
    /// The transient timer's time, in microseconds.
    pub timer: Option<u64>,
    /// The same of the one for updates.
    pub update_timer: Option<u64>,
    /// That of the timer for an update that failed.
    pub retry_timer: Option<u64>,
    /// That of the daily timer of the package.
    pub daily_timer: Option<u64>,
    /// How often a stopped unit is still there.
    lingers: u32,
    /// The other ends of the locks that were given out.
    locks: Vec<OwnedFd>,
}

type Shared = Arc<Mutex<World>>;

/// A bus with both services, found at the host's own socket.
pub struct PlayedLogind {
    pub world: Shared,
    _served: [Served; 2],
    bus: Bus,
}

impl PlayedLogind {
    /// Plays them for the host below `root`.
    pub fn of(root: &Path) -> Self {
        let (bus, world) = (Bus::start(), Shared::default());
        let address = bus.address().strip_prefix("unix:path=").unwrap();
        let socket = address.split(',').next().unwrap();
        std::fs::create_dir_all(root.join("run/dbus")).unwrap();
        std::os::unix::fs::symlink(socket, root.join("run/dbus/system_bus_socket")).unwrap();
        let logind =
            bus.serve("org.freedesktop.login1", "/org/freedesktop/login1", Logind(world.clone()));
        let systemd = bus.serve(
            "org.freedesktop.systemd1",
            "/org/freedesktop/systemd1",
            Systemd(world.clone()),
        );
        runtime().block_on(async {
            systemd
                .connection
                .object_server()
                .at("/timer", Timer(world.clone(), REBOOT))
                .await
                .unwrap();
            systemd
                .connection
                .object_server()
                .at("/update_timer", Timer(world.clone(), UPDATE))
                .await
                .unwrap();
            systemd
                .connection
                .object_server()
                .at("/retry_timer", Timer(world.clone(), RETRY))
                .await
                .unwrap();
            systemd
                .connection
                .object_server()
                .at("/daily_timer", Timer(world.clone(), DAILY))
                .await
                .unwrap();
        });
        Self { world, _served: [logind, systemd], bus }
    }

    /// Plays timedated as well, which says whether the clock was set.
    pub fn tells_the_time(&self, is_synchronized: bool) -> Served {
        let name = "org.freedesktop.timedate1";
        self.bus.serve(name, "/org/freedesktop/timedate1", Timedated(is_synchronized))
    }

    /// Changes the world, or looks at it.
    pub fn with<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut lock(&self.world))
    }

    /// Somebody is logged in.
    pub fn logs_in(&self, session: [&'static str; 4]) {
        let number = self.with(|world| {
            world.sessions.push(session);
            world.sessions.len() - 1
        });
        let [terminal, class, kind, state] = session.map(str::to_owned);
        let session = Session { terminal, class, kind, state };
        let [logind, _] = &self._served;
        let path = format!("/session/{number}");
        let server = logind.connection.object_server();
        runtime().block_on(server.at(path, session)).unwrap();
    }

    /// What was asked since the last time.
    pub fn calls(&self) -> Vec<String> {
        self.with(|world| std::mem::take(&mut world.calls))
    }

    /// Nobody answers any more.
    pub fn ends(self) {
        drop(self.bus);
    }
}

impl World {
    /// How many locks are held.
    pub fn held_locks(&self) -> usize {
        let is_held = |lock: &&OwnedFd| {
            let mut fds = [PollFd::new(lock.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::ZERO).unwrap();
            !fds[0].revents().unwrap().contains(PollFlags::POLLHUP)
        };
        self.locks.iter().filter(is_held).count()
    }
}

fn lock(world: &Shared) -> std::sync::MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.login1")]
enum LoginError {
    #[zbus(error)]
    ZBus(zbus::Error),
    #[allow(clippy::enum_variant_names)]
    NoSessionForPID(String),
    BlockedByInhibitorLock(String),
}

struct Logind(Shared);

#[zbus::interface(name = "org.freedesktop.login1.Manager")]
impl Logind {
    fn inhibit(&self, what: &str, who: &str, why: &str, mode: &str) -> zbus::OwnedFd {
        let (theirs, ours) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut world = lock(&self.0);
        world.calls.push(format!("Inhibit {what} {who} {mode}: {why}"));
        world.locks.push(ours.into());
        let theirs: OwnedFd = theirs.as_fd().try_clone_to_owned().unwrap();
        theirs.into()
    }

    fn list_inhibitors(&self) -> Vec<(String, String, String, String, u32, u32)> {
        let world = lock(&self.0);
        let row = |[what, who, why, mode]: &[&str; 4]| {
            (what.to_string(), who.to_string(), why.to_string(), mode.to_string(), 0, 1)
        };
        world.inhibitors.iter().map(row).collect()
    }

    fn list_sessions(&self) -> Vec<(String, u32, String, String, OwnedObjectPath)> {
        let row = |number: usize| {
            let path = OwnedObjectPath::try_from(format!("/session/{number}")).unwrap();
            (format!("c{number}"), 1000, "ada".to_owned(), String::new(), path)
        };
        (0..lock(&self.0).sessions.len()).map(row).collect()
    }

    #[zbus(name = "GetSessionByPID")]
    fn get_session_by_pid(&self, _pid: u32) -> Result<OwnedObjectPath, LoginError> {
        let sessions = &lock(&self.0).sessions;
        match sessions.iter().position(|[terminal, ..]| *terminal == "own") {
            Some(number) => Ok(OwnedObjectPath::try_from(format!("/session/{number}")).unwrap()),
            None => Err(LoginError::NoSessionForPID("no session".into())),
        }
    }

    fn set_wall_message(&self, message: &str, enable: bool) {
        let mut world = lock(&self.0);
        world.calls.push(format!("SetWallMessage {enable}: {message}"));
        world.wall = message.to_owned();
    }

    fn reboot_with_flags(&self, flags: u64) -> Result<(), LoginError> {
        let mut world = lock(&self.0);
        if world.refuses {
            return Err(LoginError::BlockedByInhibitorLock("denied by an inhibitor".into()));
        }
        world.calls.push(format!("RebootWithFlags {flags}"));
        Ok(())
    }

    fn schedule_shutdown(&self, kind: &str, time: u64) {
        let mut world = lock(&self.0);
        world.calls.push(format!("ScheduleShutdown {kind}"));
        world.scheduled = (kind.to_owned(), time);
    }

    fn cancel_scheduled_shutdown(&self) -> bool {
        let mut world = lock(&self.0);
        world.calls.push("CancelScheduledShutdown".to_owned());
        !std::mem::take(&mut world.scheduled).0.is_empty()
    }

    #[zbus(property)]
    fn wall_message(&self) -> String {
        lock(&self.0).wall.clone()
    }

    #[zbus(property)]
    fn scheduled_shutdown(&self) -> (String, u64) {
        lock(&self.0).scheduled.clone()
    }
}

struct Session {
    terminal: String,
    class: String,
    kind: String,
    state: String,
}

#[zbus::interface(name = "org.freedesktop.login1.Session")]
impl Session {
    #[zbus(property, name = "TTY")]
    fn tty(&self) -> String {
        self.terminal.clone()
    }

    #[zbus(property)]
    fn class(&self) -> String {
        self.class.clone()
    }

    #[zbus(property, name = "Type")]
    fn kind(&self) -> String {
        self.kind.clone()
    }

    #[zbus(property)]
    fn state(&self) -> String {
        self.state.clone()
    }
}

#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.systemd1")]
enum UnitError {
    #[zbus(error)]
    ZBus(zbus::Error),
    NoSuchUnit(String),
    UnitExists(String),
}

struct Systemd(Shared);

type Properties = Vec<(String, OwnedVariant)>;

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Systemd {
    fn get_unit(&self, name: &str) -> Result<OwnedObjectPath, UnitError> {
        match lock(&self.0).timer_called(name) {
            Some(_) if name == UPDATE => Ok(path("/update_timer")),
            Some(_) if name == RETRY => Ok(path("/retry_timer")),
            Some(_) if name == DAILY => Ok(path("/daily_timer")),
            Some(_) => Ok(path("/timer")),
            None => Err(UnitError::NoSuchUnit(name.into())),
        }
    }

    fn stop_unit(&self, name: &str, mode: &str) -> Result<OwnedObjectPath, UnitError> {
        let mut world = lock(&self.0);
        if world.timer_called(name).take().is_none() {
            return Err(UnitError::NoSuchUnit(name.into()));
        }
        world.lingers = 2;
        world.calls.push(format!("StopUnit {name} {mode}"));
        Ok(path("/job/1"))
    }

    fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        properties: Properties,
        further: Vec<(String, Properties)>,
    ) -> Result<OwnedObjectPath, UnitError> {
        assert!(further.is_empty());
        let mut world = lock(&self.0);
        if world.lingers > 0 || world.timer_called(name).is_some() {
            world.lingers = world.lingers.saturating_sub(1);
            return Err(UnitError::UnitExists(name.into()));
        }
        for (property, value) in properties {
            match property.as_str() {
                "TimersCalendar" => {
                    let rows = Vec::<(String, String)>::try_from(value).unwrap();
                    let [(kind, calendar)] = rows.as_slice() else { panic!("{rows:?}") };
                    assert_eq!(kind, "OnCalendar");
                    let time: jiff::Timestamp = calendar.replace(" UTC", "Z").parse().unwrap();
                    *world.timer_called(name) = Some(time.as_microsecond().try_into().unwrap());
                }
                "Description" => drop(String::try_from(value).unwrap()),
                "AccuracyUSec" => assert_eq!(u64::try_from(value).unwrap(), 1_000_000),
                "RemainAfterElapse" => assert!(!bool::try_from(value).unwrap()),
                other => panic!("a timer has no {other}"),
            }
        }
        world.calls.push(format!("StartTransientUnit {name} {mode}"));
        Ok(path("/job/2"))
    }
}

/// The names of the transient timers.
const REBOOT: &str = "flipside-reboot-window.timer";
const UPDATE: &str = "flipside-update-window.timer";
const RETRY: &str = "flipside-update-retry.timer";
/// The one that a package brings.
const DAILY: &str = "flipside-update.timer";

impl World {
    fn timer_called(&mut self, name: &str) -> &mut Option<u64> {
        match name {
            REBOOT => &mut self.timer,
            UPDATE => &mut self.update_timer,
            RETRY => &mut self.retry_timer,
            DAILY => &mut self.daily_timer,
            other => panic!("no timer is called {other}"),
        }
    }
}

struct Timedated(bool);

#[zbus::interface(name = "org.freedesktop.timedate1")]
impl Timedated {
    #[zbus(property, name = "NTPSynchronized")]
    fn ntp_synchronized(&self) -> bool {
        self.0
    }
}

struct Timer(Shared, &'static str);

#[zbus::interface(name = "org.freedesktop.systemd1.Timer")]
impl Timer {
    #[zbus(property, name = "NextElapseUSecRealtime")]
    fn next_elapse(&self) -> u64 {
        lock(&self.0).timer_called(self.1).unwrap_or(0)
    }
}

fn path(text: &'static str) -> OwnedObjectPath {
    OwnedObjectPath::try_from(text).unwrap()
}
