// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is said about mistaken files, word for word. The cases stand in text files: the lines of a
//! file, then `=>` and what is said. `@ PATH` begins another file than the administrator's.

use std::sync::{Arc, Mutex};

use super::*;

const FILE: &str = "etc/flipside/flipside.toml";

/// Files below a root, and what is said about them.
struct Case {
    files: Vec<(&'static str, String)>,
    said: Vec<&'static str>,
}

fn cases(text: &'static str) -> Vec<Case> {
    let mut cases = vec![Case { files: Vec::new(), said: Vec::new() }];
    for line in text.lines() {
        let is_over = cases.last().is_some_and(|case| !case.said.is_empty());
        let said = line.strip_prefix("=> ");
        if is_over && said.is_none() {
            cases.push(Case { files: Vec::new(), said: Vec::new() });
        }
        let case = cases.last_mut().unwrap();
        match (said, line.strip_prefix("@ ")) {
            (Some(said), _) => case.said.push(said),
            (None, Some(path)) => case.files.push((path, String::new())),
            (None, None) => {
                if case.files.is_empty() {
                    case.files.push((FILE, String::new()));
                }
                let (_, text) = case.files.last_mut().unwrap();
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    cases
}

/// What `load` says of the files, with what is logged before it.
fn said_by(case: &Case, load: fn(&Root) -> Result<Config, ConfigError>) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    for (path, text) in &case.files {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer({
            let log = log.clone();
            move || log.clone()
        })
        .without_time()
        .with_target(false)
        .with_level(false)
        .with_ansi(false)
        .finish();
    let root = Root::new(directory.path());
    let loaded = tracing::subscriber::with_default(subscriber, || load(&root));
    let result = match &loaded {
        Ok(config) if *config == Config::default() => "the defaults".to_owned(),
        Ok(_) => "right".to_owned(),
        Err(error) => format!("{error} [{}]", error.code()),
    };
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let below = format!("{}/", directory.path().display());
    let shown = |line: &str| {
        let line = line.replace(&below, "/").replace(&format!("/{FILE}, line "), "line ");
        line.trim_start().replace(" [config-invalid]", "")
    };
    logged.lines().chain([result.as_str()]).map(shown).collect()
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Shows every difference in one run.
fn compare(text: &'static str, load: fn(&Root) -> Result<Config, ConfigError>) {
    let mut different = String::new();
    for case in cases(text) {
        let said = said_by(&case, load);
        if said != case.said {
            let files = case.files.iter().map(|(path, text)| format!("@ {path}\n{text}"));
            let files: String = files.collect();
            let (said, expected) = (said.join("\n=> "), case.said.join("\n=> "));
            different.push_str(&format!("{files}=> {said}\nand not\n=> {expected}\n\n"));
        }
    }
    assert!(different.is_empty(), "\n{different}");
}

#[test]
fn each_mistake_has_its_sentence() {
    compare(include_str!("mistakes.txt"), Config::load);
}

#[test]
fn keys_of_a_later_flipside_are_passed_over_and_named() {
    compare(include_str!("passed_over.txt"), Config::load_shared);
}
