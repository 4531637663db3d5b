// SPDX-License-Identifier: MIT OR Apache-2.0

//! The host's system bus: method calls, one after the other.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::runtime::{Builder as RuntimeBuilder, Runtime};
use zbus::connection::{Builder, Connection};
use zbus::{DBusError as _, OwnedVariant, Type};

use flipside_core::host::Root;

/// Where the bus listens, on the host (D-Bus specification, "Well-known Message Bus Instances").
const SOCKET: &str = "/run/dbus/system_bus_socket";

/// An answer that takes longer does not come.
const PATIENCE: Duration = Duration::from_secs(25);

/// A connection to the bus. Nothing happens on it between calls.
pub struct Bus {
    connection: Connection,
    // Behind the connection, which lives on it.
    runtime: Runtime,
}

/// An object on the bus, and one of its interfaces.
#[derive(Debug, Clone, Copy)]
pub struct Object<'a> {
    /// The service's name.
    pub service: &'static str,
    /// The path.
    pub path: &'a str,
    /// The interface.
    pub interface: &'static str,
}

/// What reboots the machine, and lets shutdowns be held off: org.freedesktop.login1(5).
pub const LOGIND: Object<'static> = Object {
    service: "org.freedesktop.login1",
    path: "/org/freedesktop/login1",
    interface: "org.freedesktop.login1.Manager",
};

/// An answer that is an error.
#[derive(Debug)]
pub struct CallError {
    /// Its D-Bus name, where the other side sent one.
    pub name: Option<String>,
    /// What it says.
    pub message: String,
}

impl Bus {
    /// Of the host below `root`: for a directory, only a bus that has its socket there and is not
    /// the machine's.
    ///
    /// # Errors
    /// Why it cannot be reached.
    pub fn of(root: &Root) -> Result<Self, String> {
        Self::patient(root, PATIENCE)
    }

    /// The same; no answer is waited for any longer than this.
    ///
    /// # Errors
    /// Why it cannot be reached.
    pub fn patient(root: &Root, patience: Duration) -> Result<Self, String> {
        let runtime = RuntimeBuilder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let builder = if root.is_live() {
            Builder::system()
        } else {
            let socket = root.path(SOCKET);
            if is_same(&socket, Path::new(SOCKET)) {
                return Err("this host is a directory, and the bus in it is the machine's".into());
            }
            let stream = UnixStream::connect(&socket).map_err(|error| error.to_string())?;
            stream.set_nonblocking(true).map_err(|error| error.to_string())?;
            Builder::unix_stream(stream)
        };
        let connected = runtime.block_on(async {
            // The runtime's timer is there inside of it only.
            tokio::time::timeout(patience, builder.method_timeout(patience).build()).await
        });
        match connected {
            Ok(Ok(connection)) => Ok(Self { connection, runtime }),
            Ok(Err(error)) => Err(error.to_string()),
            Err(late) => Err(late.to_string()),
        }
    }

    /// Calls `method` of `object`.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn call<A, R>(
        &self,
        object: Object<'_>,
        method: &str,
        arguments: &A,
    ) -> Result<R, CallError>
    where
        A: serde::Serialize + Type,
        R: DeserializeOwned + Type,
    {
        let Object { service, path, interface } = object;
        let call =
            self.connection.call_method(Some(service), path, Some(interface), method, arguments);
        let reply = self.runtime.block_on(call).map_err(CallError::from)?;
        reply.body().deserialize().map_err(CallError::from)
    }

    /// Reads a property of `object`.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn property<T>(&self, object: Object<'_>, name: &str) -> Result<T, CallError>
    where
        T: TryFrom<OwnedVariant>,
        T::Error: std::fmt::Display,
    {
        let properties = Object { interface: "org.freedesktop.DBus.Properties", ..object };
        let value: OwnedVariant = self.call(properties, "Get", &(object.interface, name))?;
        T::try_from(value).map_err(|error| CallError { name: None, message: error.to_string() })
    }

    /// Lets time pass for the other side.
    pub fn wait(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// Whether both paths lead to one socket: `/run` may be mounted below a root as well.
fn is_same(one: &Path, other: &Path) -> bool {
    let inode = |path: &Path| -> io::Result<(u64, u64)> {
        let metadata = std::fs::metadata(path)?;
        Ok((metadata.dev(), metadata.ino()))
    };
    matches!((inode(one), inode(other)), (Ok(one), Ok(other)) if one == other)
}

impl CallError {
    /// Whether it has this D-Bus name.
    pub fn is(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name)
    }

    /// Whether the other side has answered, and so has not done what it was asked for. Otherwise
    /// it may have.
    pub fn is_refusal(&self) -> bool {
        let silences = ["NoReply", "Timeout", "TimedOut", "Disconnected"];
        let silence = |name: &str| {
            name.strip_prefix("org.freedesktop.DBus.Error.")
                .is_some_and(|name| silences.contains(&name))
        };
        self.name.as_deref().is_some_and(|name| !silence(name))
    }
}

impl From<zbus::Error> for CallError {
    fn from(error: zbus::Error) -> Self {
        match error {
            zbus::Error::MethodError(name, message, _) => Self {
                message: message.unwrap_or_else(|| name.to_string()),
                name: Some(name.to_string()),
            },
            // The names that the D-Bus specification itself has.
            zbus::Error::FDO(error) => Self {
                message: error.description().map_or_else(|| error.to_string(), str::to_owned),
                name: Some(error.name().to_string()),
            },
            other => Self { name: None, message: other.to_string() },
        }
    }
}
