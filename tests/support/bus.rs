// SPDX-License-Identifier: MIT OR Apache-2.0

//! A private system bus: Debian's `dbus-daemon` with a configuration and a socket of its own, ended
//! with this value. The machine's own bus is never spoken to.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use zbus::Connection;
use zbus::connection::Builder;
use zbus::object_server::Interface;

/// A running bus, on which anybody may own every name and call everything.
pub struct Bus {
    daemon: Child,
    address: String,
    _directory: tempfile::TempDir,
}

impl Bus {
    pub fn start() -> Self {
        Self::with("")
    }

    /// The same with more in its configuration.
    pub fn with(more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("bus.conf");
        let text = format!(
            "<busconfig><type>test</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/>\
             <allow send_destination=\"*\"/><allow receive_sender=\"*\"/></policy>{more}</busconfig>",
            directory.path().join("socket").display(),
        );
        std::fs::write(&config, text).unwrap();
        let spawned = Command::new("dbus-daemon")
            .args(["--nofork", "--nopidfile", "--nosyslog", "--print-address=1", "--config-file"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        let mut daemon = spawned.unwrap_or_else(|error| {
            panic!(
                "cannot start dbus-daemon ({error}): \
                 install it with `apt-get install dbus-daemon`, as `make test` does"
            )
        });
        let mut address = String::new();
        // It is printed once the socket listens.
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
        assert!(address.starts_with("unix:path="), "dbus-daemon did not start: {address:?}");
        Self { daemon, address: address.trim_end().to_owned(), _directory: directory }
    }

    /// Its address, as `busctl --address=` takes it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Makes this the system bus of `command`.
    pub fn is_system_bus_of(&self, command: &mut Command) {
        command.env("DBUS_SYSTEM_BUS_ADDRESS", &self.address);
    }

    /// A new connection, driven by the Tokio runtime that this is called in.
    pub async fn connect(&self) -> Connection {
        Builder::address(self.address()).build().await.unwrap()
    }

    /// Plays the service that owns `name`: serves `interface` at `path`, in a thread of its own,
    /// until the value is dropped.
    pub fn serve(
        &self,
        name: &'static str,
        path: &'static str,
        interface: impl Interface,
    ) -> Served {
        let builder = Builder::address(self.address()).serve_at(path, interface).name(name);
        let (end, ended) = oneshot::channel::<()>();
        let (ready, is_ready) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            runtime().block_on(async {
                let connection = builder.build().await.unwrap();
                ready.send(connection.clone()).unwrap();
                let _ = ended.await;
                let _ = connection.close().await;
            });
        });
        let connection = is_ready.recv_timeout(Duration::from_secs(120)).unwrap();
        Served { connection, end: Some(end), thread: Some(thread) }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// A played service.
pub struct Served {
    /// Its connection, to emit signals.
    #[allow(dead_code)]
    pub connection: Connection,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.end.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Runs the client's side of a test.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
