// SPDX-License-Identifier: MIT OR Apache-2.0

//! The service: follows the status file, until nobody needs it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::mpsc;
use zbus::connection::Builder;
use zbus::fdo::RequestNameFlags;
use zbus::object_server::{Interface as _, InterfaceRef};
use zbus::{Connection, OwnedVariant};

use super::document::Document;
use super::interface::Updater;
use super::{INTERFACE, NAME, OBJECT, ServiceError};
use crate::report::{ReportError, StatusFile, Watch};
use flipside_core::host::Root;

/// How long after a change the file is left alone. Its writers are slower than that.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a run that says nothing counts as one that is under way: a hook may take its time, and a
/// run that was killed leaves its progress in the file.
const SILENT_RUN: Duration = Duration::from_secs(15 * 60);

/// Serves the status of the host in `root` on the system bus, until nothing was asked and nothing
/// changed for `idle`.
///
/// # Errors
/// [`ServiceError`].
pub fn serve(root: &Root, idle: Duration) -> Result<(), ServiceError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(ServiceError::Runtime)?.block_on(run(root, idle))
}

async fn run(root: &Root, idle: Duration) -> Result<(), ServiceError> {
    let file = StatusFile::of(root);
    // Before the first reading, so that no change falls in between.
    let mut changes = watch(Watch::of(root)?)?;
    let connection = connect(Document::read(&file)).await?;
    let object = connection
        .object_server()
        .interface::<_, Updater>(OBJECT)
        .await
        .map_err(ServiceError::Unreachable)?;
    let follow = follow(&object, &file, &mut changes);
    tokio::select! {
        ended = follow => ended?,
        () = nobody_needs_it(&connection, &object, idle) => {}
        () = connection.closed() => return Err(ServiceError::Closed),
    }
    // What comes from here on starts the service anew.
    connection.release_name(NAME).await.map_err(ServiceError::Unreachable)?;
    drop(object);
    connection.graceful_shutdown().await;
    Ok(())
}

async fn connect(document: Document) -> Result<Connection, ServiceError> {
    let connection = Builder::system()
        .serve_at(OBJECT, Updater::new(document))
        .build()
        .await
        .map_err(ServiceError::Unreachable)?;
    // The default would let any other instance take the name away.
    match connection.request_name_with_flags(NAME, RequestNameFlags::DO_NOT_QUEUE).await {
        Ok(_) => Ok(connection),
        Err(zbus::Error::NameTaken) => Err(ServiceError::NameTaken),
        Err(error) => Err(ServiceError::NameRefused(error)),
    }
}

/// Tells of changes from a thread of its own, which ends with the process.
fn watch(mut watch: Watch) -> Result<mpsc::Receiver<Result<(), ReportError>>, ServiceError> {
    let (sender, receiver) = mpsc::channel(1);
    let tell = move || {
        loop {
            let changed = watch.wait();
            let is_over = changed.is_err();
            if sender.blocking_send(changed).is_err() || is_over {
                return;
            }
            std::thread::sleep(PAUSE);
        }
    };
    let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(tell);
    thread.map(|_| receiver).map_err(ServiceError::Runtime)
}

/// Serves what `file` says, whenever it changes. Ends only with an error.
async fn follow(
    object: &InterfaceRef<Updater>,
    file: &StatusFile,
    changes: &mut mpsc::Receiver<Result<(), ReportError>>,
) -> Result<(), ServiceError> {
    while let Some(changed) = changes.recv().await {
        changed?;
        publish(object, file).await.map_err(ServiceError::Unreachable)?;
    }
    Ok(())
}

/// Serves what `file` says now, and tells in one signal what is different by that.
async fn publish(object: &InterfaceRef<Updater>, file: &StatusFile) -> zbus::Result<()> {
    let updater = object.get().await;
    let document = Document::read(file);
    if document == *updater.document() {
        return Ok(());
    }
    let before = values(object, &updater).await?;
    updater.replace(document);
    let mut changed = values(object, &updater).await?;
    changed.retain(|name, value| before.get(name) != Some(value));
    // These are read by few, and change every time.
    let mut invalidated = vec!["StatusJson", "TimeUSec"];
    invalidated.retain(|name| changed.remove(*name).is_some());
    object
        .signal_emitter()
        .emit(
            "org.freedesktop.DBus.Properties",
            "PropertiesChanged",
            &(INTERFACE, changed, invalidated),
        )
        .await
}

async fn values(
    object: &InterfaceRef<Updater>,
    updater: &Updater,
) -> zbus::Result<HashMap<String, OwnedVariant>> {
    let emitter = object.signal_emitter();
    let connection = emitter.connection();
    Ok(updater.get_all(connection.object_server(), connection, None, emitter).await?)
}

/// Ends when nothing went over the bus for as long as somebody may wait for something.
async fn nobody_needs_it(connection: &Connection, object: &InterfaceRef<Updater>, idle: Duration) {
    loop {
        let activity = connection.monitor_activity();
        let is_running = object.get().await.document().status.progress.is_some();
        let patience = if is_running { SILENT_RUN.max(idle) } else { idle };
        let is_quiet = tokio::time::timeout(patience, activity).await.is_err();
        if is_quiet && !object.get().await.is_waited_for() {
            return;
        }
    }
}
