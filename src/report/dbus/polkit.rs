// SPDX-License-Identifier: MIT OR Apache-2.0

//! Asking polkit (`org.freedesktop.PolicyKit1.Authority.CheckAuthorization`).

use std::collections::HashMap;

use zbus::message::{Flags, Header};
use zbus::{Connection, Variant};

use super::Operation;
use super::call_error::CallError;

/// `POLKIT_CHECK_AUTHORIZATION_FLAGS_ALLOW_USER_INTERACTION`.
const MAY_INTERACT: u32 = 1;

/// Whether who sent `call` may have `operation`. Waits for people who have to give a password, where
/// the caller allows that they are asked.
///
/// # Errors
/// All but [`CallError::NotStarted`].
pub async fn check(
    connection: &Connection,
    call: &Header<'_>,
    operation: Operation,
) -> Result<(), CallError> {
    // The bus itself says who sent it: no peer can choose its unique name.
    let sender = call.sender().ok_or(CallError::AccessDenied(operation))?.to_string();
    let may_interact = call.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH);
    let subject = ("system-bus-name", HashMap::from([("name", Variant::from(sender))]));
    let details: HashMap<&str, &str> = HashMap::new();
    let flags = if may_interact { MAY_INTERACT } else { 0 };
    let question = (subject, operation.action(), details, flags, "");
    let unavailable =
        |error: zbus::Error| CallError::AuthorityUnavailable(operation, error.to_string());
    let reply = connection
        .call_method(
            Some("org.freedesktop.PolicyKit1"),
            "/org/freedesktop/PolicyKit1/Authority",
            Some("org.freedesktop.PolicyKit1.Authority"),
            "CheckAuthorization",
            &question,
        )
        .await
        .map_err(unavailable)?;
    let body = reply.body();
    let (is_authorized, is_challenge, _): (bool, bool, HashMap<String, String>) =
        body.deserialize::<((bool, bool, HashMap<String, String>),)>().map_err(unavailable)?.0;
    match (is_authorized, is_challenge && !may_interact) {
        (true, _) => Ok(()),
        (false, true) => Err(CallError::InteractiveAuthorizationRequired(operation)),
        (false, false) => Err(CallError::AccessDenied(operation)),
    }
}
