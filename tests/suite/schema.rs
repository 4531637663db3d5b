// SPDX-License-Identifier: MIT OR Apache-2.0

//! `docs/schema` in itself: names, descriptions, fields and words.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use flipside::report::history::Happening;
use flipside::report::progress::Phase;
use flipside::report::status::{BootFile, BootTarget, CheckResult, SlotState, State};
use flipside::rules::Rule;
use flipside_core::refusal::Severity;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::support::documents::{COMMON, published};

/// The schema at `reference`, which stands in the schema `name`: its name too.
fn resolve<'a>(
    schemas: &'a BTreeMap<String, Value>,
    name: &'a str,
    reference: &'a str,
) -> (&'a str, &'a Value) {
    let (file, pointer) = reference.split_once('#').unwrap_or((reference, ""));
    let name = file.strip_suffix(".schema.json").unwrap_or(name);
    (name, schemas[name].pointer(pointer).unwrap())
}

/// The names of all fields without fields of their own, as docs/status.md has them.
fn fields(
    schemas: &BTreeMap<String, Value>,
    (name, schema): (&str, &Value),
    path: &str,
    found: &mut BTreeSet<String>,
) {
    let before = found.len();
    if let Some(reference) = schema["$ref"].as_str() {
        fields(schemas, resolve(schemas, name, reference), path, found);
    }
    let choices = schema["anyOf"].as_array().into_iter().flatten();
    for choice in choices.filter(|choice| choice["type"] != "null") {
        fields(schemas, (name, choice), path, found);
    }
    for (member, of) in schema["properties"].as_object().into_iter().flatten() {
        let dot = if path.is_empty() { "" } else { "." };
        fields(schemas, (name, of), &format!("{path}{dot}{member}"), found);
    }
    if let Some(items) = schema.get("items") {
        fields(schemas, (name, items), &format!("{path}[]"), found);
    }
    if found.len() == before {
        found.insert(path.to_owned());
    }
}

/// A test beside the code compares the document with the type: so all three say the same.
#[test]
fn the_schemas_of_status_and_history_have_the_fields_of_the_document() {
    let schemas = published();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/status.md");
    let document = std::fs::read_to_string(path).unwrap();
    for (name, heading) in [("status", "The status document"), ("history-entry", "The history")] {
        let section = document.split_once(&format!("\n## {heading}\n")).unwrap().1;
        let rows = section.lines().skip_while(|line| !line.starts_with("| ---")).skip(1);
        let rows = rows.take_while(|line| line.starts_with('|'));
        let documented = rows.map(|line| line.split('`').nth(1).unwrap().to_owned()).collect();
        let mut found = BTreeSet::new();
        fields(&schemas, (name, &schemas[name]), "", &mut found);
        assert_eq!(found, documented, "{name}");
    }
}

/// The words of a type, as serde names them where it meets another one.
fn words<T: DeserializeOwned>() -> BTreeSet<String> {
    let error = serde_json::from_value::<T>(json!("?")).err().unwrap().to_string();
    error.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_schemas_list_the_words_that_there_are() {
    let schemas = published();
    let rules = Rule::ALL.map(|rule| rule.name().to_owned()).into();
    for (name, place, expected) in [
        ("status", "/properties/state", words::<State>()),
        ("status", "/properties/slots/items/properties/state", words::<SlotState>()),
        ("status", "/properties/slots/items/properties/boot_file", words::<BootFile>()),
        ("status", "/properties/boot_order/items/properties/what", words::<BootTarget>()),
        ("status", "/properties/last_check/properties/result", words::<CheckResult>()),
        (COMMON, "/$defs/severity", words::<Severity>()),
        (COMMON, "/$defs/rule", rules),
        ("progress", "/oneOf/0/properties/phase", words::<Phase>()),
    ] {
        let list = &schemas[name].pointer(place).unwrap()["enum"];
        let found: BTreeSet<String> = serde_json::from_value(list.clone()).unwrap();
        assert!(found == expected && found.len() > 2, "{name}{place}: {expected:?}");
    }
    let events = schemas["history-entry"].pointer("/properties/event/anyOf/0/enum").unwrap();
    for event in events.as_array().unwrap() {
        let event: Happening = serde_json::from_value(event.clone()).unwrap();
        assert!(!matches!(event, Happening::Other(_)), "{event}");
    }
}

#[test]
fn every_schema_and_every_field_has_a_name_and_a_description() {
    fn undescribed(schema: &Value, path: &str, found: &mut Vec<String>) {
        let children: Vec<(String, &Value)> = match schema {
            Value::Object(members) => members.iter().map(|(n, of)| (n.clone(), of)).collect(),
            Value::Array(items) => items.iter().map(|of| ("[]".to_owned(), of)).collect(),
            _ => Vec::new(),
        };
        for (name, child) in children {
            let place = format!("{path}/{name}");
            let is_field = path.ends_with("/properties") || path.ends_with("/$defs");
            let text = child["description"].as_str().unwrap_or_default();
            if is_field && !(text.ends_with('.') && text.len() > 5) {
                found.push(place.clone());
            }
            undescribed(child, &place, found);
        }
    }
    let schemas = published();
    let whole = schemas.values().map(Value::to_string).collect::<String>();
    for (name, schema) in &schemas {
        let id = format!("https://flipside.org/schema/{name}.schema.json");
        assert_eq!(schema["$id"], id);
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
        let mut found = Vec::new();
        undescribed(schema, "", &mut found);
        assert!(schema["title"].is_string() && schema["description"].is_string(), "{name}");
        assert!(found.is_empty(), "{name}: {found:?}");
        for definition in schema["$defs"].as_object().into_iter().flatten() {
            let reference = format!("#/$defs/{}\"", definition.0);
            assert!(whole.contains(&reference), "{name}: nothing refers to {}", definition.0);
        }
        // Later versions may add fields. What is closed here is only in tests.
        for word in ["additionalProperties\":false", "unevaluatedProperties"] {
            assert!(!schema.to_string().contains(word), "{name}: {word}");
        }
    }
}
