// SPDX-License-Identifier: MIT OR Apache-2.0

//! A token service, as registries have one.

use hyper::{Response, StatusCode, header};

use super::script::Script;

/// Tokens that are asked for below `/v2/`, given out at `/token`.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// `user:password` in base64, where the token service wants some.
    pub basic: Option<String>,
    /// How many requests a token is good for.
    pub uses: Option<usize>,
    /// The realm, where it is not this proxy's own.
    pub realm: Option<String>,
    /// The scope that is asked for, where it is not that of a repository `x`.
    pub scope: Option<String>,
    pub issued: usize,
    pub used: usize,
}

impl Tokens {
    /// The answer to a request that has no good token, and to one for a token.
    pub fn check(
        &mut self,
        path: &str,
        address: &str,
        authorization: Option<&str>,
    ) -> Option<Response<Script>> {
        let plain = |status: u16, body: String| {
            let mut response = Response::new(Script::whole(body.into_bytes().into()));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response
        };
        if path.starts_with("/token") {
            let wanted = self.basic.as_ref().map(|b| format!("Basic {b}"));
            if wanted.is_some() && wanted.as_deref() != authorization {
                return Some(plain(401, r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#.into()));
            }
            self.issued += 1;
            self.used = 0;
            let token = format!("token-{}", self.issued);
            return Some(plain(200, format!(r#"{{"token":"{token}","expires_in":60}}"#)));
        }
        let good = authorization == Some(&format!("Bearer token-{}", self.issued)[..])
            && self.uses.is_none_or(|uses| self.used < uses);
        self.used += 1;
        if good {
            return None;
        }
        let realm = self.realm.clone().unwrap_or_else(|| format!("http://{address}/token"));
        let mut response = plain(401, String::new());
        let scope = self.scope.as_deref().unwrap_or("repository:x:pull");
        let challenge = format!(r#"Bearer realm="{realm}",service="test",scope="{scope}""#);
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge.parse().unwrap());
        Some(response)
    }
}
