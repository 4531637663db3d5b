// SPDX-License-Identifier: MIT OR Apache-2.0

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;

use flipside_core::cancel::Cancel;
use flipside_core::host::Root;
use flipside_image::code::Coded;

use super::*;

/// A host in a directory with files and an environment.
struct Host {
    directory: tempfile::TempDir,
    environment: BTreeMap<String, OsString>,
    options: Options,
}

impl Host {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = Options::new(Root::new(directory.path()), Cancel::new());
        Self { directory, environment: BTreeMap::new(), options }
    }

    fn file(self, path: &str, content: &str) -> Self {
        let path = self.directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    fn helper(self, name: &str, script: &str) -> Self {
        let path = format!("usr/bin/docker-credential-{name}");
        let host = self.file(&path, &format!("#!/bin/sh\n{script}\n"));
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(host.directory.path().join(path), mode).unwrap();
        host
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    fn find(&self, host: &str, repository: &str) -> Result<Option<String>, SourceError> {
        let environment = |name: &str| self.environment.get(name).cloned();
        let found = find(&self.options, &environment, host, repository)?;
        Ok(found.map(|found| match found.secret {
            Secret::Password { username, password } => format!("{username}:{password}"),
            Secret::IdentityToken(token) => format!("identity {token}"),
            Secret::RegistryToken(token) => format!("registry {token}"),
        }))
    }

    /// The file that another program is to be given, below the root.
    fn place(&self, host: &str) -> Option<PathBuf> {
        let environment = |name: &str| self.environment.get(name).cloned();
        let path = file(&self.options, &environment, host, "a")?;
        Some(path.strip_prefix(self.directory.path()).unwrap().to_owned())
    }

    fn user(&self, host: &str, repository: &str) -> String {
        self.find(host, repository).unwrap().unwrap_or_default()
    }
}

/// An auth file with a user for each key; the user is called like the key's number.
fn auths(keys: &[&str]) -> String {
    let entries: Vec<_> = keys
        .iter()
        .enumerate()
        .map(|(n, key)| {
            let auth = base64::engine::general_purpose::STANDARD.encode(format!("u{n}:p:w"));
            format!(r#""{key}":{{"auth":"{auth}"}}"#)
        })
        .collect();
    format!(r#"{{"auths":{{{}}}}}"#, entries.join(","))
}

#[test]
fn the_longest_path_wins() {
    let file = auths(&["r.example", "r.example/acme", "r.example/acme/edge", "r.example:5000"]);
    let host = Host::new().file("etc/flipside/auth.json", &file);
    for (registry, repository, user) in [
        ("r.example", "acme/edge", "u2:p:w"),
        ("r.example", "acme/edge/more", "u2:p:w"),
        ("r.example", "acme/edge-more", "u1:p:w"),
        ("r.example", "acme", "u1:p:w"),
        ("r.example", "other/acme", "u0:p:w"),
        ("r.example:5000", "acme/edge", "u3:p:w"),
        ("s.example", "acme/edge", ""),
        ("r.example.evil", "acme/edge", ""),
    ] {
        assert_eq!(host.user(registry, repository), user, "{registry} {repository}");
    }
}

#[test]
fn keys_of_old_tools_are_understood() {
    let keys = ["https://index.docker.io/v1/", "http://r.example", "https://S.example/v2/"];
    let host = Host::new().file("etc/flipside/auth.json", &auths(&keys));
    assert_eq!(host.user("docker.io", "library/debian"), "u0:p:w");
    assert_eq!(host.user("r.example", "a"), "u1:p:w");
    assert_eq!(host.user("s.example", "a"), "u2:p:w");
}

#[test]
fn the_first_place_that_has_credentials_wins() {
    let places = [
        "etc/flipside/auth.json",
        "run/flipside/auth.json",
        "run/user/1/containers/auth.json",
        "run/containers/0/auth.json",
        "home/u/.config/containers/auth.json",
        "home/u/.docker/config.json",
    ];
    for (n, place) in places.iter().enumerate() {
        let mut host = Host::new().variable("HOME", "/home/u");
        host = host.variable("XDG_RUNTIME_DIR", "/run/user/1");
        for earlier in &places[..n] {
            host = host.file(earlier, &auths(&["s.example"]));
        }
        for (later, place) in places[n..].iter().enumerate() {
            let keys: Vec<_> = (0..later).map(|_| "x.example").chain(["r.example"]).collect();
            host = host.file(place, &auths(&keys));
        }
        assert_eq!(host.user("r.example", "a"), "u0:p:w", "{place}");
    }
    let host = Host::new()
        .variable("REGISTRY_AUTH_FILE", "/mine.json")
        .file("run/containers/0/auth.json", &auths(&["x.example", "r.example"]))
        .file("mine.json", &auths(&["r.example"]));
    assert_eq!(host.user("r.example", "a"), "u0:p:w");
}

#[test]
fn a_named_file_is_the_only_one_and_has_to_exist() {
    let mut host = Host::new().file("etc/flipside/auth.json", &auths(&["r.example"]));
    host.options.auth_file = Some("/mine.json".into());
    assert_eq!(host.find("r.example", "a").unwrap_err().code().name(), "credentials-unreadable");
    let host = host.file("mine.json", "{}");
    assert_eq!(host.user("r.example", "a"), "");
}

#[test]
fn tokens_and_plain_fields_are_understood_and_empty_entries_skipped() {
    let host = Host::new().file(
        "etc/flipside/auth.json",
        r#"{"auths":{"a.example":{"identitytoken":"i"},"b.example":{"registrytoken":"r"},
            "c.example":{"username":"u","password":"p"},"d.example":{},"e.example":{"auth":"dTpw"},
            "f.example":{"auth":"dTpwYQ"}},"unknown":1}"#,
    );
    for (registry, found) in [
        ("a.example", "identity i"),
        ("b.example", "registry r"),
        ("c.example", "u:p"),
        ("d.example", ""),
        ("e.example", "u:p"),
        ("f.example", "u:pa"),
    ] {
        assert_eq!(host.user(registry, "x"), found);
    }
}

#[test]
fn null_is_as_if_absent_and_base64_may_be_wrapped() {
    let entry = r#"{"auth":"dTpw","identitytoken":null,"username":null}"#;
    for (content, found) in [
        ("null".to_owned(), ""),
        (r#"{"auths":null}"#.to_owned(), ""),
        (r#"{"auths":{"r.example":null}}"#.to_owned(), ""),
        (
            format!(r#"{{"auths":{{"r.example":{entry}}},"credHelpers":null,"credsStore":null}}"#),
            "u:p",
        ),
        (
            format!(r#"{{"auths":{{"o.example":null,"r.example/a":null,"r.example":{entry}}}}}"#),
            "u:p",
        ),
        (
            format!(r#"{{"auths":{{"r.example":{entry}}},"credHelpers":{{"r.example":null}}}}"#),
            "u:p",
        ),
        (r#"{"auths":{"r.example":{"auth":"dTp\nw\r\n"}}}"#.to_owned(), "u:p"),
    ] {
        let host = Host::new().file("etc/flipside/auth.json", &content);
        assert_eq!(host.user("r.example", "a"), found, "{content}");
    }
}

/// As systemd starts system services.
#[test]
fn without_a_home_in_the_environment_that_of_the_user_is_taken() {
    let uid = nix::unistd::geteuid();
    let passwd =
        format!("other:x:{uid}1:0::/none:/bin/sh\nnobody\nroot:x:{uid}:0:a:/home/r:/bin/sh\n");
    for place in ["home/r/.docker/config.json", "home/r/.config/containers/auth.json"] {
        let host = Host::new().file("etc/passwd", &passwd).file(place, &auths(&["r.example"]));
        assert_eq!(host.user("r.example", "a"), "u0:p:w", "{place}");
        let host = host.variable("HOME", "");
        assert_eq!(host.user("r.example", "a"), "u0:p:w", "{place}");
        assert_eq!(host.variable("HOME", "/elsewhere").user("r.example", "a"), "", "{place}");
    }
    let host = Host::new().file("etc/passwd", &passwd);
    let host = host.file("etc/flipside/auth.json", r#"{"credsStore":"mine"}"#);
    let host = host.helper("mine", r#"echo "{\"Username\":\"u\",\"Secret\":\"$HOME\"}""#);
    assert_eq!(host.user("r.example", "a"), "u:/home/r");
}

#[test]
fn where_credentials_are_from_and_where_there_are_none_is_named() {
    let host = Host::new().file("run/flipside/auth.json", &auths(&["r.example/acme", "r.example"]));
    let none = |name: &str| (name == "HOME").then(|| OsString::from("/home/u"));
    let at = |path: &str| host.directory.path().join(path).display().to_string();
    let found = find(&host.options, &none, "r.example", "acme/edge").unwrap().unwrap();
    let expected = format!("{} (entry r.example/acme)", at("run/flipside/auth.json"));
    assert_eq!(found.origin, expected);
    let expected = format!("in {} (track.auth_file)", at("run/flipside/auth.json"));
    assert!(searched(&host.options, &none).ends_with(&expected));
    std::fs::remove_file(at("run/flipside/auth.json")).unwrap();
    let places = searched(&host.options, &none);
    for place in [
        "etc/flipside/auth.json",
        "run/flipside/auth.json",
        "run/containers/0/auth.json",
        "home/u/.config/containers/auth.json",
        "home/u/.docker/config.json",
    ] {
        assert!(places.contains(&at(place)), "{places}");
    }
    assert!(places.starts_with("none of ") && places.contains("track.auth_file"), "{places}");
}

#[test]
fn what_cannot_be_read_is_told_without_its_content() {
    for content in [
        "{",
        r#"{"auths":"topsecret"}"#,
        r#"{"auths":{"r.example":{"auth":"topsecret!"}}}"#,
        r#"{"auths":{"r.example":{"auth":"dG9wc2VjcmV0"}}}"#,
        "topsecret",
    ] {
        let host = Host::new().file("etc/flipside/auth.json", content);
        let error = host.find("r.example", "a").unwrap_err();
        assert_eq!(error.code().name(), "credentials-unreadable");
        assert!(!format!("{error} {error:?}").contains("topsecret"), "{error}");
        assert!(error.to_string().contains("auth.json"));
    }
    let host = Host::new().file("etc/flipside/auth.json", &" ".repeat(2 << 20));
    assert_eq!(host.find("r.example", "a").unwrap_err().code().name(), "credentials-unreadable");
    assert_eq!(Host::new().file("etc/flipside/auth.json", "\n").user("r.example", "a"), "");
}

#[test]
fn a_helper_is_asked_for_its_registry() {
    let host = Host::new()
        .file(
            "etc/flipside/auth.json",
            r#"{"credHelpers":{"r.example":"mine"},"credsStore":"store"}"#,
        )
        .helper(
            "mine",
            r#"read s; echo "{\"ServerURL\":\"$s\",\"Username\":\"$1\",\"Secret\":\"$s\"}""#,
        )
        .helper("store", r#"cat >/dev/null; echo '{"Username":"<token>","Secret":"t"}'"#);
    assert_eq!(host.user("r.example", "a"), "get:r.example");
    assert_eq!(host.user("s.example", "a"), "identity t");
}

#[test]
fn a_helper_that_knows_nothing_leaves_it_to_the_next_place() {
    let host = Host::new()
        .file("etc/flipside/auth.json", r#"{"credHelpers":{"r.example":"mine"}}"#)
        .file("run/flipside/auth.json", &auths(&["r.example"]))
        .helper("mine", "echo credentials not found in native keychain; exit 1");
    assert_eq!(host.user("r.example", "a"), "u0:p:w");
}

#[test]
fn a_helper_that_fails_is_named_and_not_quoted() {
    for script in
        ["echo topsecret; exit 3", "echo topsecret", "exit 0", "head -c 1000000 /dev/zero"]
    {
        let host = Host::new()
            .file("etc/flipside/auth.json", r#"{"credsStore":"mine"}"#)
            .helper("mine", script);
        let error = host.find("r.example", "a").unwrap_err();
        assert_eq!(error.code().name(), "credential-helper-failed", "{script}");
        assert!(error.to_string().contains("docker-credential-mine"));
        assert!(!error.to_string().contains("topsecret"), "{error}");
    }
    let jwt = format!("eyJ{}", "x".repeat(40));
    let script =
        format!("echo topsecret; printf 'no metadata:\\n\\033[1mnor a token {jwt}' >&2; exit 3");
    let host = Host::new().file("etc/flipside/auth.json", r#"{"credsStore":"mine"}"#);
    let error = host.helper("mine", &script).find("r.example", "a").unwrap_err().to_string();
    let expected =
        "helper docker-credential-mine failed: it ended with an error: no metadata: [1mnor";
    assert!(error.contains(expected), "{error}");
    assert!(!error.contains("topsecret") && !error.contains(&jwt), "{error}");
    for name in ["missing", "../../bin/sh", "a b"] {
        let file = format!(r#"{{"credsStore":"{name}"}}"#);
        let host = Host::new().file("etc/flipside/auth.json", &file);
        assert_eq!(
            host.find("r.example", "a").unwrap_err().code().name(),
            "credential-helper-failed"
        );
    }
}

#[test]
fn a_helper_that_hangs_is_ended_by_a_stop() {
    let host = Host::new()
        .file("etc/flipside/auth.json", r#"{"credsStore":"mine"}"#)
        .helper("mine", "sleep 60 & sleep 60");
    host.options.stop.request();
    let start = std::time::Instant::now();
    assert_eq!(host.find("r.example", "a").unwrap_err().code().name(), "stopped");
    assert!(start.elapsed().as_secs() < 2);
}

#[test]
fn another_program_is_given_the_file_that_is_gone_by_here() {
    let host = Host::new()
        .file("etc/flipside/auth.json", "not as expected")
        .file("run/flipside/auth.json", &auths(&["r.example"]))
        .file("run/containers/0/auth.json", &auths(&["r.example", "s.example"]))
        .file("root/.docker/config.json", r#"{"credHelpers":{"t.example":"one"}}"#)
        .helper("one", r#"echo '{"Username":"h","Secret":"s"}'"#)
        .variable("HOME", "/root");
    for (registry, expected) in [
        ("r.example", Some("run/flipside/auth.json")),
        ("s.example", Some("run/containers/0/auth.json")),
        ("t.example", Some("root/.docker/config.json")),
        ("u.example", None),
    ] {
        assert_eq!(host.place(registry), expected.map(PathBuf::from), "{registry}");
    }
    let mut host = host.file("mine.json", &auths(&["s.example"]));
    host.options.auth_file = Some("/mine.json".into());
    assert_eq!(host.place("s.example"), Some("mine.json".into()));
    assert_eq!(host.place("r.example"), None);
}
