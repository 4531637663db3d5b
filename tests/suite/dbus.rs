// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside dbus-service`, on a private bus.

use crate::support::bus::{Bus, runtime};

struct Echo;

#[zbus::interface(name = "org.flipside.Test")]
impl Echo {
    fn echo(&self, word: String) -> String {
        word
    }
}

#[test]
fn the_bus_of_a_test_is_nobody_elses() {
    let (bus, other) = (Bus::start(), Bus::start());
    let name = "org.flipside.Test";
    let served = bus.serve(name, "/", Echo);
    assert!(served.connection.is_bus());
    runtime().block_on(async {
        let call = async |bus: &Bus| {
            let connection = bus.connect().await;
            let reply = connection.call_method(Some(name), "/", Some(name), "Echo", &"word").await;
            reply.map(|reply| reply.body().deserialize::<String>().unwrap())
        };
        assert_eq!(call(&bus).await.unwrap(), "word");
        assert!(call(&other).await.is_err());
    });
}
