// SPDX-License-Identifier: MIT OR Apache-2.0

//! Secrets in text that people and other programs may read: passwords in references and URLs,
//! signatures in the queries of URLs, tokens of HTTP's `Authorization`.

/// What stands in the place of a secret.
const REDACTED: &str = "***";

/// The prefixes of references that are paths.
const PATHS: [&str; 2] = ["oci:", "oci-archive:"];

/// What the name of a parameter in a URL has in it whose value lets others in.
const SECRET_PARAMETERS: [&str; 10] =
    ["sig", "token", "key", "secret", "pass", "pwd", "cred", "auth", "jwt", "code"];

/// How names of what lets others in end, where a program prints them with their values.
const SECRET_NAMES: [&str; 6] = ["password", "passwd", "passphrase", "secret", "token", "apikey"];

/// The fewest characters of a word behind `Basic` or `Bearer` that is taken for a secret.
const TOKEN: usize = 12;

/// Whether a reference or URL has a user, or a user and a password, before its host.
pub fn has_user(text: &str) -> bool {
    user_end(text, true).is_some()
}

/// As [`redact`], of a text that is one reference or URL: also a user alone is none of others' business.
pub fn redact_reference(text: &str) -> String {
    match user_end(text, true) {
        Some(end) => {
            let begin = text.find("://").map_or(0, |at| at + 3);
            let scheme = text.get(..begin).unwrap_or_default();
            redact(&format!("{scheme}{REDACTED}{}", text.get(end..).unwrap_or_default()))
        }
        None => redact(text),
    }
}

/// `text` without secrets. Everything else stays as it is: digests, tags, mail addresses, paths,
/// and queries that hold no secret.
pub fn redact(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut rest = text;
    let mut expected = Expected::Anything;
    while !rest.is_empty() {
        let start = rest.find(|c| !is_between(c)).unwrap_or(rest.len());
        let (between, behind) = rest.split_at(start);
        let end = behind.find(is_between).unwrap_or(behind.len());
        let (word, behind) = behind.split_at(end);
        redacted.push_str(between);
        let is_token = word.len() >= TOKEN && !word.trim_end_matches('=').contains('=');
        // A JSON object in base64: a signed token (RFC 7519).
        let is_jwt = word.starts_with("eyJ") && word.len() >= 2 * TOKEN;
        match expected {
            Expected::Value if !word.is_empty() => redacted.push_str(REDACTED),
            Expected::Token(_) if is_token => redacted.push_str(REDACTED),
            _ if is_jwt => redacted.push_str(REDACTED),
            _ => redacted.push_str(&redact_word(word)),
        }
        let is_quoted = between.ends_with('"') && behind.starts_with('"');
        expected = expected.after(word, is_quoted);
        rest = behind;
    }
    redacted
}

/// What the next word may be.
#[derive(Debug, Clone, Copy)]
enum Expected {
    Anything,
    /// A token, or so many words on.
    Token(u8),
    /// The colon behind a name in JSON.
    Colon,
    /// What has to stay secret.
    Value,
}

impl Expected {
    /// What follows `word`, which was expected to be this.
    fn after(self, word: &str, is_quoted: bool) -> Self {
        let is = |name: &str| word.eq_ignore_ascii_case(name);
        let header = word.strip_suffix(':').filter(|name| name.contains(['-', '_']));
        match self {
            Self::Colon if word == ":" => Self::Value,
            _ if is_quoted && is_secret_name(word) => Self::Colon,
            _ if header.is_some_and(is_secret_name) => Self::Value,
            // The scheme may be any word (RFC 9110, section 11.6.2).
            _ if is("authorization:") => Self::Token(1),
            _ if is("basic") || is("bearer") => Self::Token(0),
            Self::Token(1..) => Self::Token(0),
            _ => Self::Anything,
        }
    }
}

/// What no reference, URL or token has in it.
fn is_between(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '<' | '>' | '`' | '(' | ')')
}

fn redact_word(word: &str) -> String {
    let mut word = word.to_owned();
    if let Some(end) = user_end(&word, false) {
        let begin = word.find("://").map_or(0, |at| at + 3).min(end);
        word.replace_range(begin..end, REDACTED);
    }
    let query = word.find("://").and_then(|scheme| {
        let at = word.get(scheme..)?.find(['?', '#'])?;
        Some(scheme + at + 1)
    });
    if let Some(at) = query
        && word.get(at..).is_some_and(has_secret_parameter)
    {
        word.truncate(at);
        word.push_str(REDACTED);
    }
    if let Some(at) = secret_value(&word) {
        word.truncate(at);
        word.push_str(REDACTED);
    }
    word
}

/// Where the value begins of `password=...` and the like.
fn secret_value(word: &str) -> Option<usize> {
    word.match_indices('=').map(|(at, _)| at).find_map(|at| {
        let before = word.get(..at)?;
        let name = before.rsplit(|c| !is_in_name(c)).next()?;
        (is_secret_name(name) && at + 1 < word.len()).then_some(at + 1)
    })
}

/// Whether `name`, and nothing but a name, is one of what lets others in.
fn is_secret_name(name: &str) -> bool {
    let plain = name.to_ascii_lowercase().replace(['-', '_'], "");
    name.chars().all(is_in_name) && SECRET_NAMES.iter().any(|secret| plain.ends_with(secret))
}

fn is_in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

fn has_secret_parameter(query: &str) -> bool {
    let pairs = query.split(['&', ';', '?', '#']);
    pairs.filter_map(|pair| pair.split_once('=')).any(|(name, _)| is_secret_parameter(name))
}

/// Whether a parameter of this name in a URL holds a secret.
pub fn is_secret_parameter(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_PARAMETERS.iter().any(|secret| name.contains(secret))
}

/// Where the `@` is that ends a user and a password. `may_be_alone`: a user without either a password
/// or a scheme before it is one, too. In a text that would be a mail address.
fn user_end(text: &str, may_be_alone: bool) -> Option<usize> {
    if PATHS.iter().any(|prefix| text.starts_with(prefix)) || text.starts_with(['/', '.']) {
        return None;
    }
    let begin = text.find("://").map_or(0, |at| at + 3);
    let rest = text.get(begin..)?;
    let is_digest = |behind: &str| ["sha256:", "sha512:"].iter().any(|a| behind.starts_with(a));
    let ends = || rest.char_indices().filter(|(_, c)| *c == '@').map(|(at, _)| at);
    let before_path = rest.find('/').unwrap_or(rest.len());
    let authority = rest.get(..before_path)?;
    let in_authority = ends().filter(|at| {
        let behind = rest.get(at + 1..).unwrap_or_default();
        let has_password = rest.get(..*at).is_some_and(|user| user.contains(':'));
        *at < before_path && !is_digest(behind) && (begin > 0 || has_password || may_be_alone)
    });
    // A password with a slash that is not written as %2F.
    let port = authority.split_once(':').map(|(_, port)| port).filter(|_| !authority.contains('['));
    let is_no_port = port.is_some_and(|port| !port.bytes().all(|b| b.is_ascii_digit()));
    let in_path = ends().filter(|at| {
        let behind = rest.get(at + 1..).unwrap_or_default();
        is_no_port && *at > before_path && !is_digest(behind)
    });
    in_authority.chain(in_path).last().map(|at| begin + at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn secrets_go_and_everything_else_stays() {
        let hex = "12ab".repeat(16);
        let digest = format!("registry.example.com:5000/acme/edge:stable@sha256:{hex}");
        for (text, expected) in [
            ("user:secret@r.example/a:b", "***@r.example/a:b"),
            ("user:se@cret@r.example/a:b", "***@r.example/a:b"),
            ("user:se/cret@r.example/a:b", "***@r.example/a:b"),
            ("https://user:secret@r.example/a", "https://***@r.example/a"),
            ("https://user:se/cret@r.example/a", "https://***@r.example/a"),
            ("https://ghp_token@r.example/a", "https://***@r.example/a"),
            ("http://u:p@[::1]:3128", "http://***@[::1]:3128"),
            ("cannot reach \"u:p@r.example\": refused", "cannot reach \"***@r.example\": refused"),
            (
                "Get \"https://cdn.example/b?X-Amz-Date=1&X-Amz-Signature=ab\": EOF",
                "Get \"https://cdn.example/b?***\": EOF",
            ),
            ("https://b.example/c?sv=1&sig=ab%2B", "https://b.example/c?***"),
            ("https://g.example/v1/graph?access_token=x", "https://g.example/v1/graph?***"),
            ("https://a.example/cb#id_token=x", "https://a.example/cb#***"),
            ("Authorization: Basic dXNlcjpzZWNyZXQ=", "Authorization: Basic ***"),
            ("bearer abcdefghijklmnop denied", "bearer *** denied"),
            ("Authorization: token ghp_abcdefghijk", "Authorization: token ***"),
            ("X-Auth-Token: abc PRIVATE-TOKEN: d", "X-Auth-Token: *** PRIVATE-TOKEN: ***"),
            ("login --password=hunter2 failed", "login --password=*** failed"),
            ("DB_PASSWORD=a;b, x=1&api_key=ab", "DB_PASSWORD=*** x=1&api_key=***"),
            ("{\"user\":\"u\",\"password\": \"p\"}", "{\"user\":\"u\",\"password\": \"***\"}"),
            ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln is over", "token *** is over"),
        ] {
            assert_eq!(redact(text), expected);
            assert_eq!(redact(expected), expected);
        }
        for text in [
            digest.as_str(),
            "registry.example.com:5000/acme/edge:stable",
            "edge:stable@sha256:12ab",
            "[fd00::1]:5000/a/b:c",
            "oci:/srv/a@b/image:1.0",
            "oci-archive:/srv/u:p@x.tar",
            "ask ops@example.com: they know",
            "getty@tty1.service failed: no such unit",
            "see https://wiki.example/page?id=5#top",
            "https://u.example/v1/graph?group=edge",
            "Basic realm=\"x\", Bearer realm=",
            "the bearer of this",
            "cannot read the secret: no such file",
            "cannot read /etc/acme/api_token: no such file",
            "the \"token\" is missing: nobody gave one",
            "password= and key=value",
            "the authorization: none",
            "",
        ] {
            assert_eq!(redact(text), text);
        }
    }

    #[test]
    fn a_reference_with_a_user_is_known_and_loses_it() {
        let digest = format!("r.example:5000/acme/edge:stable@sha256:{}", "12ab".repeat(16));
        for (text, expected) in [
            ("user:secret@r.example/a:b", "***@r.example/a:b"),
            ("ghp_token@r.example/a:b", "***@r.example/a:b"),
            ("https://user:secret@r.example/a?token=x", "https://***@r.example/a?***"),
        ] {
            assert!(has_user(text));
            assert_eq!(redact_reference(text), expected);
        }
        for text in [digest.as_str(), "r.example/a@v1", "oci:/srv/a@b", "/srv/a@b", "edge@sha256:1"]
        {
            assert!(!has_user(text), "{text}");
            assert_eq!(redact_reference(text), text);
        }
    }

    proptest! {
        #[test]
        fn no_password_stays(user in "[a-z]{1,5}", password in "[!-~&&[^\"'<>`()@/]]{3,9}") {
            let secret = format!("{user}:{password}@r.example:5000/a/b:c");
            for text in [secret.clone(), format!("x https://{secret} y")] {
                prop_assert!(!redact(&text).contains(&format!("{password}@")), "{}", redact(&text));
            }
        }

        #[test]
        fn any_text_is_redacted(text in "\\PC{0,80}") {
            let once = redact(&text);
            prop_assert_eq!(redact(&once), once);
        }
    }
}
