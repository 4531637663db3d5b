// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside dbus-service` as a child on a private bus, who calls it, and whom it asks.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use flipside::report::dbus::{INTERFACE, NAME, OBJECT};
use futures_util::StreamExt as _;
use zbus::message::Header;
use zbus::{Connection, MatchRule, MessageStream, OwnedObjectPath, OwnedVariant, Variant};

use super::bus::{Bus, Served};

/// Longer than anything takes that is going to happen.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub type Values = HashMap<String, OwnedVariant>;

/// The running service.
pub struct Updater(Child);

impl Updater {
    /// Starts it, and waits until it has its name.
    pub fn start(bus: &Bus, root: &Path, idle: u64) -> Self {
        let service = Self(command(bus, root, idle).spawn().unwrap());
        super::bus::runtime().block_on(async {
            let connection = bus.connect().await;
            let begin = Instant::now();
            while !has_owner(&connection).await {
                assert!(begin.elapsed() < PATIENCE, "the service does not take its name");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        service
    }

    /// Waits for its end.
    pub fn end(mut self) -> Output {
        let begin = Instant::now();
        while self.0.try_wait().unwrap().is_none() {
            assert!(begin.elapsed() < PATIENCE, "the service does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut stderr = Vec::new();
        std::io::Read::read_to_end(self.0.stderr.as_mut().unwrap(), &mut stderr).unwrap();
        Output { status: self.0.wait().unwrap(), stdout: Vec::new(), stderr }
    }

    pub fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Updater {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn command(bus: &Bus, root: &Path, idle: u64) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
    command.arg("--root").arg(root).args(["dbus-service", "--idle", &idle.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    bus.is_system_bus_of(&mut command);
    command
}

pub async fn has_owner(connection: &Connection) -> bool {
    let bus = "org.freedesktop.DBus";
    let reply = connection
        .call_method(Some(bus), "/org/freedesktop/DBus", Some(bus), "NameHasOwner", &NAME)
        .await;
    reply.unwrap().body().deserialize().unwrap()
}

/// Somebody who looks at the service and calls it.
pub struct Client(pub Connection);

impl Client {
    pub async fn on(bus: &Bus) -> Self {
        Self(bus.connect().await)
    }

    pub async fn all(&self) -> Values {
        let properties = Some("org.freedesktop.DBus.Properties");
        let reply = self.0.call_method(Some(NAME), OBJECT, properties, "GetAll", &INTERFACE).await;
        reply.unwrap().body().deserialize().unwrap()
    }

    /// One property, as text: `"armed"`, `(\"\", 0)`.
    pub async fn get(&self, property: &str) -> String {
        self.all().await.get(property).map(text).unwrap_or_else(|| panic!("{property} is missing"))
    }

    /// Calls a method: the job, or the error's name and text.
    pub async fn call(&self, method: &str) -> Result<String, String> {
        let reply = self.0.call_method(Some(NAME), OBJECT, Some(INTERFACE), method, &()).await;
        match reply {
            Ok(reply) => Ok(reply.body().deserialize::<OwnedObjectPath>().unwrap().to_string()),
            Err(zbus::Error::MethodError(name, text, _)) => {
                Err(format!("{name}: {}", text.unwrap_or_default()))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// What the service says from here on.
    pub async fn listen(&self) -> Changes {
        let rule = MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .interface("org.freedesktop.DBus.Properties")
            .member("PropertiesChanged")
            .path(OBJECT)
            .build()
            .unwrap();
        Changes(MessageStream::for_match_rule(rule, &self.0, None).await.unwrap())
    }
}

/// The signals of the service.
pub struct Changes(MessageStream);

impl Changes {
    /// The next signal: names and values that changed, and names that are only invalidated; `None`
    /// where none comes for `patience`.
    pub async fn next(&mut self, patience: Duration) -> Option<(Values, Vec<String>)> {
        let message = tokio::time::timeout(patience, self.0.next()).await.ok()?.unwrap().unwrap();
        let body = message.body();
        let (interface, changed, invalidated): (String, Values, Vec<String>) =
            body.deserialize().unwrap();
        assert_eq!(interface, INTERFACE);
        Some((changed, invalidated))
    }
}

/// A value without its types: `"armed"`, `true`, `["a", 7]`.
pub fn text(value: &OwnedVariant) -> String {
    fn shown(value: &Variant<'_>) -> String {
        match value {
            Variant::Str(text) => format!("{:?}", text.as_str()),
            Variant::Bool(value) => value.to_string(),
            Variant::U32(number) => number.to_string(),
            Variant::U64(number) => number.to_string(),
            Variant::Structure(fields) => {
                let fields: Vec<_> = fields.fields().iter().map(shown).collect();
                format!("({})", fields.join(", "))
            }
            Variant::Array(items) => {
                let items: Vec<_> = items.iter().map(shown).collect();
                format!("[{}]", items.join(", "))
            }
            Variant::Dict(entries) => {
                let mut entries: Vec<_> =
                    entries.iter().map(|(key, value)| (shown(key), shown(value))).collect();
                entries.sort();
                let entries: Vec<_> =
                    entries.iter().map(|(key, value)| format!("{key}: {value}")).collect();
                format!("{{{}}}", entries.join(", "))
            }
            Variant::Variant(value) => shown(value),
            other => panic!("no test expects {other:?}"),
        }
    }
    shown(&Variant::from(value.try_clone().unwrap()))
}

/// Plays polkit: says what it was told to say, and remembers what it was asked.
#[derive(Clone, Default)]
pub struct Polkit {
    /// Authorized, and whether authentication would help.
    pub answer: Arc<Mutex<(bool, bool)>>,
    /// What it was told to forget.
    pub cancelled: Arc<Mutex<Vec<String>>>,
    /// What the questions are called.
    pub questions: Arc<Mutex<Vec<String>>>,
    /// Unique names, actions and flags.
    pub asked: Arc<Mutex<Vec<(String, String, u32)>>>,
    /// How long somebody takes to give a password.
    pub delay: Duration,
}

#[zbus::interface(name = "org.freedesktop.PolicyKit1.Authority")]
impl Polkit {
    async fn check_authorization(
        &self,
        subject: (String, HashMap<String, OwnedVariant>),
        action: String,
        _details: HashMap<String, String>,
        flags: u32,
        cancellation: String,
    ) -> ((bool, bool, HashMap<String, String>),) {
        assert_eq!(subject.0, "system-bus-name");
        let name = String::try_from(subject.1["name"].try_clone().unwrap()).unwrap();
        self.questions.lock().unwrap().push(cancellation);
        self.asked.lock().unwrap().push((name, action, flags));
        tokio::time::sleep(self.delay).await;
        let (is_authorized, is_challenge) = *self.answer.lock().unwrap();
        ((is_authorized, is_challenge, HashMap::new()),)
    }

    fn cancel_check_authorization(&self, cancellation: String) {
        self.cancelled.lock().unwrap().push(cancellation);
    }
}

impl Polkit {
    pub fn serve(&self, bus: &Bus) -> Served {
        let path = "/org/freedesktop/PolicyKit1/Authority";
        bus.serve("org.freedesktop.PolicyKit1", path, self.clone())
    }
}

/// Plays systemd's manager: remembers the jobs that it was asked for.
#[derive(Clone, Default)]
pub struct Systemd {
    /// Units and modes.
    pub started: Arc<Mutex<Vec<(String, String)>>>,
    pub refuses: bool,
}

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Systemd {
    fn start_unit(
        &self,
        unit: String,
        mode: String,
        #[zbus(header)] _call: Header<'_>,
    ) -> zbus::fdo::Result<OwnedObjectPath> {
        if self.refuses {
            return Err(zbus::fdo::Error::AccessDenied("not you".into()));
        }
        self.started.lock().unwrap().push((unit, mode));
        Ok(OwnedObjectPath::try_from("/org/freedesktop/systemd1/job/7").unwrap())
    }
}

impl Systemd {
    pub fn serve(&self, bus: &Bus) -> Served {
        bus.serve("org.freedesktop.systemd1", "/org/freedesktop/systemd1", self.clone())
    }
}
