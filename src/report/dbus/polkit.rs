// SPDX-License-Identifier: MIT OR Apache-2.0

//! Asking polkit (`org.freedesktop.PolicyKit1.Authority.CheckAuthorization`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use zbus::{Connection, Message, Type, Variant};

use super::Operation;
use super::call_error::CallError;

/// `POLKIT_CHECK_AUTHORIZATION_FLAGS_ALLOW_USER_INTERACTION`.
const MAY_INTERACT: u32 = 1;

/// How long polkit has to take a question back.
const CANCEL: Duration = Duration::from_secs(5);

/// How many questions there were: what one is called, so that it can be taken back.
static QUESTIONS: AtomicU64 = AtomicU64::new(0);

/// Whether a caller may have an operation.
#[derive(Debug)]
pub struct Question<'a> {
    /// The caller's unique name.
    caller: &'a str,
    may_interact: bool,
    operation: Operation,
    /// Of this connection no other question is called so.
    id: String,
}

impl<'a> Question<'a> {
    /// Whether `caller` may have `operation`. `may_interact`: whether somebody may be asked for a
    /// password.
    pub fn new(caller: &'a str, may_interact: bool, operation: Operation) -> Self {
        let id = format!("flipside-{}", QUESTIONS.fetch_add(1, Ordering::Relaxed));
        Self { caller, may_interact, operation, id }
    }

    /// Asks it. Waits for people who have to give a password, where the caller allows that they
    /// are asked.
    ///
    /// # Errors
    /// [`CallError::AccessDenied`], [`CallError::InteractiveAuthorizationRequired`] and
    /// [`CallError::AuthorityUnavailable`].
    pub async fn ask(&self, connection: &Connection) -> Result<(), CallError> {
        let operation = self.operation;
        let caller = HashMap::from([("name", Variant::from(self.caller))]);
        let subject = ("system-bus-name", caller);
        let details: HashMap<&str, &str> = HashMap::new();
        let flags = if self.may_interact { MAY_INTERACT } else { 0 };
        let question = (subject, operation.action(), details, flags, self.id.as_str());
        let unavailable =
            |error: zbus::Error| CallError::AuthorityUnavailable(operation, error.to_string());
        let reply = call(connection, "CheckAuthorization", &question).await.map_err(unavailable)?;
        let body = reply.body();
        let (is_authorized, is_challenge, _): (bool, bool, HashMap<String, String>) =
            body.deserialize::<((bool, bool, HashMap<String, String>),)>().map_err(unavailable)?.0;
        match (is_authorized, is_challenge && !self.may_interact) {
            (true, _) => Ok(()),
            (false, true) => Err(CallError::InteractiveAuthorizationRequired(operation)),
            (false, false) => Err(CallError::AccessDenied(operation)),
        }
    }

    /// Takes it back: polkit, and whoever is asked for a password, need not go on.
    pub async fn cancel(&self, connection: &Connection) {
        let id = self.id.as_str();
        let cancel = call(connection, "CancelCheckAuthorization", &id);
        if let Ok(Err(error)) = tokio::time::timeout(CANCEL, cancel).await {
            tracing::debug!("polkit does not take back a question: {error}");
        }
    }
}

async fn call<A>(connection: &Connection, method: &str, arguments: &A) -> zbus::Result<Message>
where
    A: serde::Serialize + Type,
{
    connection
        .call_method(
            Some("org.freedesktop.PolicyKit1"),
            "/org/freedesktop/PolicyKit1/Authority",
            Some("org.freedesktop.PolicyKit1.Authority"),
            method,
            arguments,
        )
        .await
}
