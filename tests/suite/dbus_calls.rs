// SPDX-License-Identifier: MIT OR Apache-2.0

//! The methods of `flipside dbus-service`: nobody gets what polkit refuses, and whoever may gets
//! exactly one unit.

use std::time::Duration;

use flipside::report::dbus::{INTERFACE, NAME, OBJECT, Operation};
use zbus::message::Flags;

use crate::support::bus::{Bus, runtime};
use crate::support::updater::{Client, Polkit, Systemd, Updater};

#[test]
fn who_may_gets_exactly_the_unit_of_the_method() {
    let (bus, directory) = (Bus::start(), tempfile::tempdir().unwrap());
    let (polkit, systemd) = (Polkit::default(), Systemd::default());
    let _served = (polkit.serve(&bus), systemd.serve(&bus));
    let _service = Updater::start(&bus, directory.path(), 60);
    *polkit.answer.lock().unwrap() = (true, false);
    runtime().block_on(async {
        let client = Client::on(&bus).await;
        let name = client.0.unique_name().unwrap().to_string();
        for operation in Operation::ALL {
            let job = client.call(operation.method()).await;
            assert_eq!(job.as_deref(), Ok("/org/freedesktop/systemd1/job/7"));
            let asked = std::mem::take(&mut *polkit.asked.lock().unwrap());
            assert_eq!(asked, [(name.clone(), operation.action().to_owned(), 0)]);
            let started = std::mem::take(&mut *systemd.started.lock().unwrap());
            assert_eq!(started, [(operation.unit().to_owned(), "fail".to_owned())]);
        }
    });
}

#[test]
fn nobody_gets_what_polkit_refuses() {
    let (bus, directory) = (Bus::start(), tempfile::tempdir().unwrap());
    let (polkit, systemd) = (Polkit::default(), Systemd::default());
    let _served = (polkit.serve(&bus), systemd.serve(&bus));
    let _service = Updater::start(&bus, directory.path(), 60);
    let denied = "org.freedesktop.DBus.Error.AccessDenied";
    let needs = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired";
    // The caller offers to authenticate, what polkit says, and what the caller hears.
    let cases = [
        (false, (false, false), denied),
        (true, (false, false), denied),
        (false, (false, true), needs),
        // Whoever was asked for a password and did not give it.
        (true, (false, true), denied),
    ];
    runtime().block_on(async {
        let client = Client::on(&bus).await;
        for operation in Operation::ALL {
            for (is_interactive, answer, expected) in cases {
                *polkit.answer.lock().unwrap() = answer;
                let heard = call(&client, operation.method(), is_interactive).await;
                assert_eq!(heard, expected, "{operation:?} {is_interactive} {answer:?}");
                let (_, _, flags) = polkit.asked.lock().unwrap().pop().unwrap();
                assert_eq!(flags, u32::from(is_interactive));
            }
        }
    });
    assert!(systemd.started.lock().unwrap().is_empty());
}

/// The name of the error that the caller hears.
async fn call(client: &Client, method: &str, is_interactive: bool) -> String {
    let call = zbus::Message::method_call(OBJECT, method).destination(NAME).interface(INTERFACE);
    let call = if is_interactive { call.with_flags(Flags::ALLOW_INTERACTIVE_AUTH) } else { call };
    let call = call.build(&()).unwrap();
    let serial = call.primary_header().serial_num();
    let mut replies = zbus::MessageStream::from(&client.0);
    client.0.send(&call).await.unwrap();
    loop {
        let message = futures_util::StreamExt::next(&mut replies).await.unwrap().unwrap();
        if message.header().reply_serial() == Some(serial) {
            return message.header().error_name().unwrap().to_string();
        }
    }
}

#[test]
fn what_cannot_be_asked_or_started_has_an_error_of_its_own() {
    let (bus, directory) = (Bus::start(), tempfile::tempdir().unwrap());
    let _service = Updater::start(&bus, directory.path(), 60);
    runtime().block_on(async {
        let client = Client::on(&bus).await;
        let error = client.call("Update").await.unwrap_err();
        let begin = "org.flipside.Updater1.Error.AuthorityUnavailable: polkit cannot be asked";
        assert!(error.starts_with(begin), "{error}");
        let polkit = Polkit::default();
        *polkit.answer.lock().unwrap() = (true, false);
        let _polkit = polkit.serve(&bus);
        for refuses in [false, true] {
            let begin = "org.flipside.Updater1.Error.NotStarted: \
                         systemd does not start flipside-update-now.service: ";
            let _systemd = refuses.then(|| Systemd { refuses, ..Systemd::default() }.serve(&bus));
            let error = client.call("Update").await.unwrap_err();
            assert!(error.starts_with(begin), "{error}");
        }
    });
}

#[test]
fn a_password_that_takes_its_time_holds_up_neither_properties_nor_the_service() {
    let (bus, directory) = (Bus::start(), tempfile::tempdir().unwrap());
    let polkit = Polkit { delay: Duration::from_millis(2500), ..Polkit::default() };
    *polkit.answer.lock().unwrap() = (true, false);
    let systemd = Systemd::default();
    let _served = (polkit.serve(&bus), systemd.serve(&bus));
    let _service = Updater::start(&bus, directory.path(), 1);
    runtime().block_on(async {
        let (client, other) = (Client::on(&bus).await, Client::on(&bus).await);
        let look = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let begin = std::time::Instant::now();
            assert_eq!(other.get("State").await, "\"unknown\"");
            let root = flipside_core::host::Root::new(directory.path());
            let mut status = flipside::report::Status::unknown(jiff::Timestamp::now());
            status.reboot_required = true;
            flipside::report::StatusFile::of(&root).write(&status).unwrap();
            while other.get("RebootRequired").await != "true" {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert!(begin.elapsed() < Duration::from_millis(2000));
        };
        let (job, ()) = tokio::join!(client.call("Update"), look);
        assert_eq!(job.as_deref(), Ok("/org/freedesktop/systemd1/job/7"));
    });
}
