// SPDX-License-Identifier: MIT OR Apache-2.0

//! What flipside writes for programs, held against `docs/schema`: what it prints with `--json` and
//! `--progress json`, the status file, and the history.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use boon::{Compiler, SchemaIndex, Schemas};
use flipside::cli::ProgressMode;
use flipside::report::{file::PATH as STATUS, history::PATH as HISTORY};
use serde_json::Value;

/// The end of a schema's file name.
const SUFFIX: &str = ".schema.json";

/// What other schemas refer to, and no document has.
pub const COMMON: &str = "common";

/// Commands that print nothing for programs unless they fail.
pub const SILENT: [&str; 3] = ["dbus-service", "hooks-exec", "image-extract"];

/// Every schema as it is published, by name.
pub fn published() -> BTreeMap<String, Value> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema");
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        let name = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?.to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        Some((name, serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path:?}: {e}"))))
    };
    std::fs::read_dir(directory).unwrap().filter_map(read).collect()
}

struct Strict {
    schemas: Schemas,
    by_name: BTreeMap<String, SchemaIndex>,
}

/// The schemas as tests hold documents against them. Published ones let later versions add fields,
/// so that a field without a description would pass. Here every object is closed.
static STRICT: LazyLock<Strict> = LazyLock::new(|| {
    let mut compiler = Compiler::new();
    compiler.enable_format_assertions();
    let mut places = BTreeMap::new();
    for (name, mut schema) in published() {
        close(&mut schema);
        let place = schema["$id"].as_str().unwrap().to_owned();
        compiler.add_resource(&place, schema).unwrap();
        places.insert(name, place);
    }
    let mut schemas = Schemas::new();
    let mut compile = |(name, place): (String, String)| {
        let schema = compiler.compile(&place, &mut schemas);
        (name, schema.unwrap_or_else(|error| panic!("{error:#}")))
    };
    let by_name = places.into_iter().map(&mut compile).collect();
    Strict { schemas, by_name }
});

/// A part of an object states no type: what refers to it does, and is closed as a whole.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.values_mut().for_each(close);
            if let Some(definition) = members.get_mut("later_word") {
                *definition = Value::Bool(false);
            }
            let is_object = members.get("type").is_some_and(|of| match of {
                Value::Array(types) => types.iter().any(|of| of == "object"),
                of => of == "object",
            });
            if is_object {
                members.insert("unevaluatedProperties".to_owned(), Value::Bool(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// What is wrong with a document, judged by the schema `name`.
///
/// # Errors
/// The places that do not fit, one a line.
pub fn judge(name: &str, document: &Value) -> Result<(), String> {
    let schema = STRICT.by_name.get(name).ok_or_else(|| format!("there is no schema {name}"))?;
    STRICT.schemas.validate(document, *schema).map_err(|error| error.to_string())
}

/// Panics where a document does not fit the schema `name`.
pub fn check(name: &str, document: &Value) {
    if let Err(why) = judge(name, document) {
        panic!("{name}: {why}\n{document:#}");
    }
}

/// Runs a command. Where it is flipside, all that it writes for programs has to fit.
pub fn output(command: &mut Command) -> Output {
    run(command).0
}

/// The same, with what it printed for programs and the names of the schemas.
pub fn run(command: &mut Command) -> (Output, Vec<(String, Value)>) {
    let Some(asked) = Asked::of(command) else { return (command.output().unwrap(), Vec::new()) };
    let output = match &asked.host {
        Some(host) => written(host, || command.output().unwrap()),
        None => command.output().unwrap(),
    };
    let printed = asked.printed(&output);
    printed.iter().for_each(|(name, document)| check(name, document));
    (output, printed)
}

/// What flipside is asked for.
struct Asked {
    /// The command as schemas are named: `image-push`.
    command: String,
    json: bool,
    has_events: bool,
    /// The directory of the host that it works on, where that is not this machine.
    host: Option<PathBuf>,
}

impl Asked {
    /// `None` for another program, and for arguments that are a mistake.
    fn of(command: &Command) -> Option<Self> {
        if command.get_program() != env!("CARGO_BIN_EXE_flipside") {
            return None;
        }
        let arguments = std::iter::once(command.get_program()).chain(command.get_args());
        let matches = flipside::cli::command().try_get_matches_from(arguments).ok()?;
        let (mut names, mut matches) = (Vec::new(), &matches);
        while let Some((name, of_command)) = matches.subcommand() {
            names.push(name);
            matches = of_command;
        }
        let directory = if names.first() == Some(&"sim") { "directory" } else { "root" };
        let host: &PathBuf = matches.get_one(directory)?;
        let host = command.get_current_dir().unwrap_or(Path::new("")).join(host);
        Some(Self {
            command: names.join("-"),
            json: matches.get_flag("json"),
            has_events: matches.get_one("progress") == Some(&ProgressMode::Json),
            host: Some(host).filter(|host| host != Path::new("/")),
        })
    }

    /// What was printed for programs.
    fn printed(&self, output: &Output) -> Vec<(String, Value)> {
        // Of what was killed, or was not understood, nothing is expected.
        if !(self.json || self.has_events) || matches!(output.status.code(), None | Some(2)) {
            return Vec::new();
        }
        let mut rest = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
        let mut printed = Vec::new();
        while let Some(Ok(document)) = rest.next() {
            let is = |field| document.get(field).is_some();
            let name = match &self.command {
                _ if self.has_events && is("type") => "progress",
                // What is no event is text, which may begin with a number.
                _ if !self.json => break,
                _ if is("error") => "error",
                command => command,
            };
            printed.push((name.to_owned(), document));
        }
        if self.json {
            let after = output.stdout[rest.byte_offset()..].trim_ascii();
            assert!(after.is_empty(), "{} prints more than JSON: {output:?}", self.command);
            let documents = printed.iter().filter(|(name, _)| name != "progress").count();
            let is_silent = SILENT.contains(&self.command.as_str()) && output.status.success();
            assert_eq!(documents, usize::from(!is_silent), "{}: {output:?}", self.command);
        }
        printed
    }
}

/// Does something to the host in a directory. The status file that it replaces and the lines that
/// it adds to the history have to fit.
pub fn written<T>(host: &Path, act: impl FnOnce() -> T) -> T {
    let (status, history) = (host.join(STATUS), host.join(HISTORY));
    // A file that is replaced is another one.
    let identity = || std::fs::metadata(&status).ok().map(|m| (m.ino(), m.mtime(), m.mtime_nsec()));
    let lines = || -> BTreeSet<Vec<u8>> {
        let bytes = std::fs::read(&history).unwrap_or_default();
        bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    };
    let (old_status, old_lines) = (identity(), lines());
    let result = act();
    if identity() != old_status
        && let Ok(text) = std::fs::read(&status)
    {
        check("status", &serde_json::from_slice(&text).unwrap());
    }
    for line in lines().difference(&old_lines).filter(|line| !line.is_empty()) {
        check("history-entry", &serde_json::from_slice(line).unwrap());
    }
    result
}
