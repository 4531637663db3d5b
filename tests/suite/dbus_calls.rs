// SPDX-License-Identifier: MIT OR Apache-2.0

//! The methods of `flipside dbus-service`: nobody gets what polkit refuses, and whoever may gets
//! exactly one unit.

use std::time::Duration;

use flipside::report::dbus::{INTERFACE, NAME, OBJECT, Operation};
use zbus::message::Flags;

use crate::support::bus::{Bus, runtime};
use crate::support::updater::{Client, PATIENCE, Polkit, Systemd, Updater};

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

fn message(method: &str, is_interactive: bool) -> zbus::Message {
    let call = zbus::Message::method_call(OBJECT, method).destination(NAME).interface(INTERFACE);
    let call = if is_interactive { call.with_flags(Flags::ALLOW_INTERACTIVE_AUTH) } else { call };
    call.build(&()).unwrap()
}

/// The name of the error that the caller hears.
async fn call(client: &Client, method: &str, is_interactive: bool) -> String {
    let call = message(method, is_interactive);
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

/// A polkit whose people never give a password.
fn nobody_answers() -> Polkit {
    Polkit { delay: Duration::from_secs(3600), ..Polkit::default() }
}

/// Waits until polkit was asked so many questions and was told to forget so many.
async fn until(polkit: &Polkit, asked: usize, cancelled: usize) {
    let begin = std::time::Instant::now();
    loop {
        let found = (polkit.asked.lock().unwrap().len(), polkit.cancelled.lock().unwrap().len());
        if found == (asked, cancelled) {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "polkit was asked and told to forget: {found:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn the_calls_of_a_caller_who_left_are_dropped_and_polkit_is_told() {
    let (bus, directory) = (Bus::start(), tempfile::tempdir().unwrap());
    let (polkit, systemd) = (nobody_answers(), Systemd::default());
    let _served = (polkit.serve(&bus), systemd.serve(&bus));
    let service = Updater::start(&bus, directory.path(), 1);
    runtime().block_on(async {
        let (leaves, stays) = (Client::on(&bus).await, Client::on(&bus).await);
        for method in ["Check", "Update", "Rollback"] {
            leaves.0.send(&message(method, true)).await.unwrap();
        }
        until(&polkit, 3, 0).await;
        stays.0.send(&message("Update", true)).await.unwrap();
        until(&polkit, 4, 0).await;
        leaves.0.close().await.unwrap();
        until(&polkit, 4, 3).await;
        // In polkit's words: the ones that it was given with the questions.
        let mut cancelled = polkit.cancelled.lock().unwrap().clone();
        let mut given = polkit.questions.lock().unwrap()[..3].to_vec();
        cancelled.sort();
        given.sort();
        assert_eq!(cancelled, given);
        stays.0.close().await.unwrap();
        until(&polkit, 4, 4).await;
    });
    // Nobody waits any more: it ends when it is idle.
    assert!(service.end().status.success());
    assert!(systemd.started.lock().unwrap().is_empty());
}

#[test]
fn no_user_has_more_than_a_few_calls_waiting() {
    let (bus, directory) = (Bus::start(), tempfile::tempdir().unwrap());
    let polkit = nobody_answers();
    let _served = polkit.serve(&bus);
    let _service = Updater::start(&bus, directory.path(), 60);
    runtime().block_on(async {
        let exceeded = "org.freedesktop.DBus.Error.LimitsExceeded";
        let (first, second) = (Client::on(&bus).await, Client::on(&bus).await);
        for _ in 0..4 {
            for client in [&first, &second] {
                client.0.send(&message("Update", true)).await.unwrap();
            }
        }
        until(&polkit, 8, 0).await;
        // Further ones are refused at once, on whichever connection.
        for client in [&first, &second, &Client::on(&bus).await] {
            for _ in 0..100 {
                let heard = tokio::time::timeout(PATIENCE, call(client, "Update", true)).await;
                assert_eq!(heard.as_deref(), Ok(exceeded));
            }
        }
        until(&polkit, 8, 0).await;
        first.0.close().await.unwrap();
        until(&polkit, 8, 4).await;
        // There is room again as soon as polkit has said that it forgets.
        for asked in 9..=12 {
            loop {
                tokio::select! {
                    heard = call(&second, "Update", true) => assert_eq!(heard, exceeded),
                    () = until(&polkit, asked, 4) => break,
                }
            }
        }
    });
}
