// SPDX-License-Identifier: MIT OR Apache-2.0

//! Who waits for an answer: so many calls and no more, and none of a caller that has left. A call
//! may wait for somebody's password for as long as it likes; whoever may speak on the bus may make
//! such a call.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt as _;
use zbus::message::Type;
use zbus::{Connection, MatchRule, MessageStream};

/// The bus itself: its name, and its interface.
const BUS: &str = "org.freedesktop.DBus";
/// Its object.
const BUS_OBJECT: &str = "/org/freedesktop/DBus";

/// The most calls of one user that wait.
pub const MOST_OF_ONE: usize = 8;
/// The most calls that wait.
const MOST: usize = 64;

/// The calls that wait, by user.
#[derive(Debug, Default)]
pub struct Callers(Mutex<HashMap<u32, usize>>);

/// One call that waits. It makes room at its end, however that comes.
#[derive(Debug)]
pub struct Place<'a> {
    callers: &'a Callers,
    user: u32,
}

impl Callers {
    /// Lets a call of `user` wait; `None` where too many do.
    pub fn enter(&self, user: u32) -> Option<Place<'_>> {
        let mut waiting = self.waiting();
        let of_user = waiting.get(&user).copied().unwrap_or_default();
        if of_user >= MOST_OF_ONE || waiting.values().sum::<usize>() >= MOST {
            return None;
        }
        waiting.insert(user, of_user.saturating_add(1));
        Some(Place { callers: self, user })
    }

    /// Whether any call waits.
    pub fn is_any(&self) -> bool {
        !self.waiting().is_empty()
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u32, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.callers.waiting();
        match waiting.get(&self.user).copied() {
            Some(of_user) if of_user > 1 => drop(waiting.insert(self.user, of_user - 1)),
            _ => drop(waiting.remove(&self.user)),
        }
    }
}

/// Which user the caller with the unique name `caller` is.
///
/// # Errors
/// The caller has left.
pub async fn user_of(connection: &Connection, caller: &str) -> zbus::Result<u32> {
    let method = "GetConnectionUnixUser";
    let reply = connection.call_method(Some(BUS), BUS_OBJECT, Some(BUS), method, &caller).await?;
    reply.body().deserialize()
}

/// Waits until the caller with the unique name `caller` has left the bus: nobody gets such a name
/// again.
///
/// # Errors
/// The bus does not tell.
pub async fn departure(connection: &Connection, caller: &str) -> zbus::Result<()> {
    let rule = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(BUS)
        .path(BUS_OBJECT)
        .interface(BUS)
        .member("NameOwnerChanged")
        .arg(0, caller)
        .build()?;
    let mut changes = MessageStream::for_match_rule(rule, connection, None).await?;
    // It may have left before the bus was asked to tell.
    if user_of(connection, caller).await.is_err() {
        return Ok(());
    }
    // The only change of a unique name is its end, and so is that of the connection.
    changes.next().await.transpose().map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_the_room_of_others_and_room_is_given_back() {
        let callers = Callers::default();
        let mut places: Vec<_> = (0..MOST_OF_ONE).map(|_| callers.enter(1).unwrap()).collect();
        assert!(callers.enter(1).is_none() && callers.enter(2).is_some());
        places.pop();
        assert!(callers.enter(1).is_some());
        let users = 2..;
        let others = users.flat_map(|user| (0..MOST_OF_ONE).map(move |_| user));
        let more = MOST - places.len();
        places.extend(others.take(more).map(|user| callers.enter(user).unwrap()));
        assert!(callers.enter(99).is_none());
        drop(places);
        assert!(!callers.is_any());
    }
}
