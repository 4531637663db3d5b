// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which policy document a host goes by: whether there has to be one, whose it is, and how old.

use std::path::PathBuf;

use flipside_publish::sign::PrivateKey;
use serde_json::{Value, json};

use crate::support::keys::new_key;
use crate::support::policy_host::{PolicyHost, days, document, release};
use crate::support::proxy::Fault;

/// The host has 1; the tag has 2, and a document that lists it, issued so many hours ago.
fn offered(hours: i64) -> (PolicyHost, Value) {
    let host = PolicyHost::new();
    let two = host.publish("2");
    let listed = document(hours, &[release("2", &two, json!({}))]);
    host.put(&listed);
    (host, listed)
}

fn installs(host: &PolicyHost) {
    let said = host.at.says(&["update"]);
    assert!(said.starts_with("2 is installed"), "{said}");
}

#[test]
fn auto_goes_by_the_tag_alone_until_it_has_seen_a_document() {
    let host = PolicyHost::new();
    let two = host.publish("2");
    assert_eq!(
        host.explains("policy-document"),
        ("there is no stable.policy, and never was".to_owned(), "allow".to_owned())
    );
    host.host().set("policy.document = \"require\"\n");
    let sentence = host.refuses(75, "policy-document-missing");
    assert_eq!(sentence, "the policy document is missing: there is no stable.policy");
    host.host().set("");

    host.put(&document(2, &[release("1", &host.one, json!({}))]));
    host.refuses(75, "release-not-listed");
    // A registry that has lost it, or hides it.
    host.proxy.fault("stable.policy", usize::MAX, Fault::Status(404, vec![], String::new()));
    let sentence = host.refuses(75, "policy-document-missing");
    assert!(sentence.ends_with("and this host has seen one"), "{sentence}");
    host.host().set("policy.document = \"off\"\n");
    host.proxy.forget();
    host.at.says(&["check"]);
    assert_eq!(host.proxy.count("stable.policy"), 0, "off asks nobody");
    host.host().set("");
    host.proxy.calm();
    host.put(&document(1, &[release("2", &two, json!({}))]));
    installs(&host);
}

#[test]
fn a_check_remembers_nothing() {
    let (host, _) = offered(1);
    let before = host.host().snapshot();
    host.at.says(&["check"]);
    host.host().assert_unchanged_since(&before, "check");
}

#[test]
fn p10_an_unchanged_document_costs_one_question_and_no_write() {
    let host = PolicyHost::new();
    host.put(&document(1, &[release("1", &host.one, json!({}))]));
    assert_eq!(host.at.says(&["update"]), "up to date: 1");
    let before = host.host().snapshot();
    host.proxy.forget();
    assert_eq!(host.at.says(&["update"]), "up to date: 1");
    let asked: Vec<String> =
        host.proxy.seen().iter().map(|seen| format!("{} {}", seen.method, seen.path)).collect();
    assert_eq!(asked, ["HEAD /v2/os/manifests/stable", "HEAD /v2/os/manifests/stable.policy"]);
    host.host().assert_unchanged_since(&before, "unchanged");

    // What is remembered is not believed when it is damaged, and fetched again.
    let directory = host.host().file("var/lib/flipside/policy");
    let file = std::fs::read_dir(directory).unwrap().next().unwrap().unwrap().path();
    let good = std::fs::read(&file).unwrap();
    for damage in [b"{".to_vec(), good.replace(b"releases", b"rel3ases")] {
        std::fs::write(&file, damage).unwrap();
        assert_eq!(host.host().program(["update"]).status.code(), Some(0));
        assert_eq!(std::fs::read(&file).unwrap(), good);
    }
}

trait Replace {
    fn replace(&self, from: &[u8], to: &[u8]) -> Vec<u8>;
}

impl Replace for Vec<u8> {
    fn replace(&self, from: &[u8], to: &[u8]) -> Vec<u8> {
        let text = String::from_utf8(self.clone()).unwrap();
        let [from, to] = [from, to].map(|bytes| std::str::from_utf8(bytes).unwrap());
        assert!(text.contains(from));
        text.replace(from, to).into_bytes()
    }
}

#[test]
fn freeze_an_expired_document_is_said_also_where_the_tag_has_nothing_new() {
    let host = PolicyHost::new();
    let mut old = document(48, &[release("1", &host.one, json!({}))]);
    old["expires"] = json!(days(-1));
    host.put(&old);
    let sentence = host.refuses(75, "policy-document-expired");
    assert!(sentence.starts_with("the policy document has expired on 2"), "{sentence}");
    host.at.waits("policy-document-expired");
    // At the first login, however often the host is rebooted.
    let message = std::fs::read_to_string(host.host().file("run/motd.d/flipside")).unwrap();
    assert!(message.contains("[policy-document-expired]"), "{message}");
    assert_eq!(host.at.status()["last_check"]["result"], "up-to-date");
    host.put(&document(1, &[release("1", &host.one, json!({}))]));
    assert_eq!(host.at.says(&["update"]), "up to date: 1");
    assert_eq!(host.at.status()["blocked"], Value::Null);
}

#[test]
fn replay_an_older_document_than_the_last_one_is_refused() {
    let (host, _) = offered(5);
    let two = host.publish("2");
    let withdrawn = release("2", &two, json!({"withdrawn": {"reason": "eats data"}}));
    let newer = document(2, &[withdrawn]);
    host.put(&newer);
    host.refuses(1, "release-withdrawn");
    host.put(&document(5, &[release("2", &two, json!({}))]));
    let sentence = host.refuses(75, "policy-document-replayed");
    assert!(sentence.contains("this host has seen one issued on 2"), "{sentence}");
    // Another tag has a memory of its own.
    host.at.publish_as("testing", &crate::support::images::ImageBuilder::new("2"));
    host.put_as("testing.policy", &document(5, &[release("2", &two, json!({}))]), Some("testing"));
    host.host().follow(&format!("{}:testing", host.identity()), "");
    installs(&host);
}

#[test]
fn a_document_of_days_to_come_is_not_believed_and_not_remembered() {
    let (host, good) = offered(1);
    let two = host.publish("2");
    host.put(&document(-48, &[release("2", &two, json!({}))]));
    host.refuses(75, "policy-document-not-yet-valid");
    host.put(&good);
    installs(&host);
}

#[test]
fn without_a_clock_nothing_is_believed() {
    let (host, _) = offered(1);
    std::fs::remove_file(host.host().file("run/systemd/timesync/synchronized")).unwrap();
    host.refuses(75, "clock-unset");
    host.host().set("policy.document = \"off\"\n");
    installs(&host);
}

#[test]
fn a_clock_that_is_trusted_needs_nobody_to_set_it() {
    let (host, _) = offered(1);
    std::fs::remove_file(host.host().file("run/systemd/timesync/synchronized")).unwrap();
    host.host().set("policy.clock = \"trusted\"\n");
    installs(&host);
}

#[test]
fn the_document_of_another_tag_is_not_of_this_one() {
    let (host, listed) = offered(1);
    host.put_as("stable.policy", &listed, Some("testing"));
    let sentence = host.refuses(75, "policy-document-foreign");
    assert!(sentence.ends_with("is about the tag testing, not stable"), "{sentence}");
    // Where nothing is signed, one that does not say is as good as any.
    host.put_as("stable.policy", &listed, None);
    installs(&host);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (host, good) = offered(1);
    let two = host.publish("2");
    let rollout = |share: Value| {
        let rollout = json!({"start": days(0), "start_percentage": share, "duration": "48h"});
        document(1, &[release("2", &two, json!({"rollout": rollout}))])
    };
    let mut later = good.clone();
    later["format_version"] = json!("2");
    for bad in [rollout(json!(-1)), rollout(json!("NaN")), later, json!([])] {
        host.put(&bad);
        host.refuses(75, "policy-document-invalid");
    }
    // An image, where the document belongs.
    host.at.publish_as("stable.policy", &crate::support::images::ImageBuilder::new("7"));
    host.refuses(75, "policy-document-invalid");
    host.put(&good);
    installs(&host);
}

#[test]
fn where_signatures_are_required_a_document_needs_one_too() {
    let (host, listed) = offered(1);
    let (key, other) = (new_key(), new_key());
    let two = host.publish("2");
    host.sign(&key, &two);
    host.trust("etc/mine.pub", &key);
    let sentence = host.refuses(75, "policy-document-unsigned");
    assert_eq!(sentence, "nobody has signed the policy document");
    let digest = host.put(&listed);
    host.sign(&other, &digest);
    host.refuses(75, "policy-document-unsigned");
    // Signed, but it does not say which tag it is about: it could have been shown anywhere.
    let unbound = host.put_as("stable.policy", &listed, None);
    host.sign(&key, &unbound);
    host.refuses(75, "policy-document-foreign");
    let digest = host.put(&listed);
    host.sign(&key, &digest);
    assert_eq!(host.at.says(&["check"]).split(' ').next(), Some("2"));
    let (observed, _) = host.explains("policy-document");
    assert!(observed.contains("signed by mine"), "{observed}");

    // Whoever was believed is asked again once his key is gone.
    let later = document(0, &[release("1", &host.one, json!({}))]);
    let digest = host.put(&later);
    host.sign(&key, &digest);
    host.refuses(75, "release-not-listed");
    std::fs::remove_file(host.host().file("etc/flipside/keys/mine.pub")).unwrap();
    host.trust("etc/other.pub", &other);
    host.refuses(75, "policy-document-unsigned");
    host.sign(&other, &digest);
    host.refuses(75, "release-not-listed");
}

/// A host with the key of `signer` that has seen a document which lists 1, signed by it.
fn seen_signed() -> (PolicyHost, PrivateKey) {
    let (host, key) = (PolicyHost::new(), new_key());
    host.trust("etc/mine.pub", &key);
    let digest = host.put(&document(3, &[release("1", &host.one, json!({}))]));
    host.sign(&key, &digest);
    assert_eq!(host.at.says(&["update"]), "up to date: 1");
    (host, key)
}

fn remembered(host: &PolicyHost) -> PathBuf {
    let directory = host.host().file("var/lib/flipside/policy");
    std::fs::read_dir(directory).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn p10_a_signed_document_is_verified_again_and_costs_one_question() {
    let (host, _) = seen_signed();
    let before = host.host().snapshot();
    host.proxy.forget();
    assert_eq!(host.at.says(&["update"]), "up to date: 1");
    let asked: Vec<String> =
        host.proxy.seen().iter().map(|seen| format!("{} {}", seen.method, seen.path)).collect();
    assert_eq!(asked, ["HEAD /v2/os/manifests/stable", "HEAD /v2/os/manifests/stable.policy"]);
    host.host().assert_unchanged_since(&before, "unchanged");
    let (observed, _) = host.explains("policy-document");
    assert!(observed.contains("signed by mine"), "{observed}");
}

#[test]
fn p8_who_writes_the_state_directory_has_signed_nothing() {
    let (host, key) = seen_signed();
    let file = remembered(&host);
    let read = || -> Value { serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap() };
    let genuine = read();
    // Another document, as a host remembers it that asks for no signature.
    host.host().set("policy.signature.mode = \"off\"\n");
    host.put(&document(1, &[release("1", &host.one, json!({}))]));
    assert_eq!(host.at.says(&["update"]), "up to date: 1");
    let unsigned = read();
    assert_ne!(unsigned["digest"], genuine["digest"]);
    host.host().set("");
    let mut of_another = unsigned.clone();
    of_another["signature"] = genuine["signature"].clone();
    let mut in_words = unsigned.clone();
    in_words["signed_by"] = json!(key.public().hint());
    for forged in [unsigned, of_another, in_words] {
        std::fs::write(&file, forged.to_string()).unwrap();
        host.refuses(75, "policy-document-unsigned");
    }
}

#[test]
fn a_registry_that_does_not_say_is_not_one_without_a_document() {
    let (host, _) = offered(1);
    let denied = Fault::Status(403, vec![], String::new());
    host.proxy.fault("stable.policy", usize::MAX, denied);
    host.refuses(1, "registry-forbidden");
    host.proxy.calm();
    host.proxy.fault("stable.policy", usize::MAX, Fault::Flood(5 << 20));
    host.refuses(1, "image-over-limit");
}

#[test]
fn a_layout_has_its_document_as_well() {
    let host = PolicyHost::new();
    let layout = format!("oci:{}:stable", host.host().0.track.display());
    host.host().follow(&layout, "");
    let two = host.publish("2");
    let file = host.host().file("policy.json");
    let withdrawn = release("2", &two, json!({"withdrawn": {"reason": "eats data"}}));
    std::fs::write(&file, document(2, &[withdrawn]).to_string()).unwrap();
    let push = ["policy", "push", file.to_str().unwrap(), &layout];
    assert!(host.host().program(push).status.success());
    host.refuses(1, "release-withdrawn");
    std::fs::write(&file, document(1, &[release("2", &two, json!({}))]).to_string()).unwrap();
    assert!(host.host().program(push).status.success());
    installs(&host);
}

#[test]
fn the_commands_of_a_publisher_make_what_hosts_with_keys_go_by() {
    let (host, listed) = offered(1);
    let key = host.host().file("release");
    let program = |arguments: &[&str]| {
        let output = host.host().program(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    program(&["image", "key", key.to_str().unwrap()]);
    let public = std::fs::read(host.host().file("release.pub")).unwrap();
    crate::support::keys::install(&host.host().0.path(), "etc/release.pub", public);
    let private = host.host().file("release.key");
    let sign = |tag: &str| {
        let image = format!("{}:{tag}", host.identity());
        program(&["image", "sign", "--key", private.to_str().unwrap(), &image]);
    };
    sign("stable");
    host.refuses(75, "policy-document-unsigned");
    let file = host.host().file("policy.json");
    std::fs::write(&file, listed.to_string()).unwrap();
    let target = format!("{}:stable", host.identity());
    program(&["policy", "push", file.to_str().unwrap(), &target]);
    sign("stable.policy");
    installs(&host);
}
