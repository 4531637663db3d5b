// SPDX-License-Identifier: MIT OR Apache-2.0

//! From the paths that code names to the files behind them, through re-exports.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::references::{self, Import, Mention, References};
use crate::tree::{self, MAIN, PROGRAM, SourceFile};

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A file of the tree, as an index.
    File(usize),
    /// Something of another crate: the whole path.
    Outside(Vec<String>),
}

/// One reference of a file.
#[derive(Debug)]
pub struct Reference {
    pub line: usize,
    /// The path as it was written.
    pub text: String,
    pub is_glob: bool,
    /// Through a re-export, a path has several: the file that is named, then those behind it.
    pub targets: Vec<Target>,
}

/// A tree with all its references resolved.
#[derive(Debug)]
pub struct Graph {
    pub files: Vec<SourceFile>,
    /// For each file.
    pub references: Vec<Vec<Reference>>,
    /// For each file: line and name.
    pub macros: Vec<Vec<(usize, String)>>,
    /// Files and lines with `#[path = "..."]`.
    pub path_attributes: Vec<(usize, usize)>,
}

#[derive(Debug, Default)]
struct Module {
    file: usize,
    aliases: BTreeMap<String, Vec<Vec<String>>>,
    globs: Vec<Vec<String>>,
    items: BTreeSet<String>,
}

type Key = (String, Vec<String>);

struct Resolver {
    modules: BTreeMap<Key, Module>,
}

/// Re-exports that lead to each other end here.
const MAX_HOPS: usize = 16;

/// Reads a tree and resolves what its files refer to.
pub fn graph(root: &Path) -> Graph {
    let files = tree::read(root);
    let read: Vec<References> = files.iter().map(|file| references::read(&file.tokens)).collect();
    let resolver = Resolver::of(&files, &read);
    let mut graph = Graph {
        references: Vec::new(),
        macros: Vec::new(),
        path_attributes: Vec::new(),
        files: Vec::new(),
    };
    for (index, (file, own)) in files.iter().zip(read).enumerate() {
        let all =
            own.mentions.iter().map(|mention| resolver.reference(index, file, mention)).collect();
        graph.references.push(all);
        graph.macros.push(own.macros);
        graph.path_attributes.extend(own.path_attributes.iter().map(|line| (index, *line)));
    }
    graph.files = files;
    graph
}

impl Resolver {
    fn of(files: &[SourceFile], read: &[References]) -> Self {
        let mut modules: BTreeMap<Key, Module> = BTreeMap::new();
        for (index, (file, own)) in files.iter().zip(read).enumerate() {
            let key = |inside: &[String]| (file.krate.clone(), [&file.module, inside].concat());
            for inside in own.modules.iter().map(Vec::as_slice).chain([&[][..]]) {
                modules.entry(key(inside)).or_default().file = index;
            }
            for (inside, item) in &own.items {
                modules.entry(key(inside)).or_default().items.insert(item.clone());
            }
            for mention in &own.mentions {
                let module = modules.entry(key(&mention.inside)).or_default();
                match &mention.import {
                    Some(Import::Name(name)) => {
                        let paths = module.aliases.entry(name.clone()).or_default();
                        paths.push(mention.parts.clone());
                    }
                    Some(Import::All) => module.globs.push(mention.parts.clone()),
                    Some(Import::Nameless) | None => {}
                }
            }
        }
        Self { modules }
    }

    fn reference(&self, index: usize, file: &SourceFile, mention: &Mention) -> Reference {
        let is_glob = mention.import == Some(Import::All);
        let mut text = mention.parts.join("::");
        if is_glob {
            text.push_str("::*");
        }
        let mut targets = Vec::new();
        let module = [&file.module[..], &mention.inside].concat();
        // A declaration does not see the name that it makes itself.
        let hidden = match &mention.import {
            Some(Import::Name(name)) => Some(name.as_str()),
            _ => None,
        };
        self.resolve(&(file.krate.clone(), module), &mention.parts, hidden, 0, &mut targets);
        targets.retain(|target| *target != Target::File(index));
        targets.dedup();
        Reference { line: mention.line, text, is_glob, targets }
    }

    /// Resolves a path as code in this module means it.
    fn resolve(
        &self,
        from: &Key,
        parts: &[String],
        hidden: Option<&str>,
        hops: usize,
        targets: &mut Vec<Target>,
    ) {
        let Some((first, rest)) = parts.split_first() else { return };
        let (krate, module) = from;
        let outside = |targets: &mut Vec<Target>, path: &[String]| match path
            .split_first()
            .and_then(|(name, rest)| Some((self.root_of(name)?, rest)))
        {
            Some((root, rest)) => self.walk(root, rest, hops, targets),
            None => targets.push(Target::Outside(path.to_vec())),
        };
        match first.as_str() {
            "Self" => {}
            "" => outside(targets, rest),
            "crate" => self.walk((krate.clone(), Vec::new()), rest, hops, targets),
            "self" | "super" => self.walk(from.clone(), parts, hops, targets),
            name => {
                let child = (krate.clone(), [&module[..], &[name.to_owned()]].concat());
                let is_local = self.modules.contains_key(&child)
                    || hidden != Some(name) && self.has(from, name, MAX_HOPS - 2);
                if is_local {
                    self.walk(from.clone(), parts, hops, targets);
                } else {
                    outside(targets, parts);
                }
            }
        }
    }

    /// The root of a crate of this tree.
    fn root_of(&self, name: &str) -> Option<Key> {
        let key = (name.to_owned(), Vec::new());
        (name != MAIN && name.starts_with(PROGRAM) && self.modules.contains_key(&key))
            .then_some(key)
    }

    /// Follows a path down from a module.
    fn walk(&self, from: Key, parts: &[String], hops: usize, targets: &mut Vec<Target>) {
        let Some(module) = self.modules.get(&from) else { return };
        let here = Target::File(module.file);
        let Some((first, rest)) = parts.split_first() else {
            targets.push(here);
            return;
        };
        if hops > MAX_HOPS {
            return;
        }
        let (krate, path) = &from;
        match first.as_str() {
            "self" => return self.walk(from, rest, hops, targets),
            "super" => {
                let above = path.split_last().map_or(&[][..], |(_, above)| above).to_vec();
                return self.walk((krate.clone(), above), rest, hops, targets);
            }
            _ => {}
        }
        let child = (krate.clone(), [&path[..], std::slice::from_ref(first)].concat());
        if self.modules.contains_key(&child) {
            return self.walk(child, rest, hops, targets);
        }
        targets.push(here);
        if let Some(paths) = module.aliases.get(first) {
            for path in paths {
                let longer = [&path[..], rest].concat();
                self.resolve(&from, &longer, Some(first), hops + 1, targets);
            }
        } else if !module.items.contains(first) {
            for glob in &module.globs {
                if let Some(behind) = self.module_behind(&from, glob, hops)
                    && behind != from
                    && self.has(&behind, first, hops + 1)
                {
                    self.walk(behind, parts, hops + 1, targets);
                }
            }
        }
    }

    /// The module that a glob opens, if it is one of this tree.
    fn module_behind(&self, from: &Key, glob: &[String], hops: usize) -> Option<Key> {
        if hops > MAX_HOPS {
            return None;
        }
        let (krate, module) = from;
        let (first, rest) = glob.split_first()?;
        let (mut at, rest) = match first.as_str() {
            "crate" => ((krate.clone(), Vec::new()), rest),
            "" => (self.root_of(rest.first()?)?, &rest[1..]),
            "self" | "super" => (from.clone(), glob),
            name => {
                let child = (krate.clone(), [&module[..], &[name.to_owned()]].concat());
                match self.modules.contains_key(&child) {
                    true => (child, rest),
                    false => match self.modules.get(from)?.aliases.get(name) {
                        Some(paths) => {
                            let longer = [&paths.first()?[..], rest].concat();
                            return self.module_behind(from, &longer, hops + 1);
                        }
                        None => (self.root_of(name)?, rest),
                    },
                }
            }
        };
        for (index, part) in rest.iter().enumerate() {
            match part.as_str() {
                "self" => continue,
                "super" => _ = at.1.pop(),
                _ => at.1.push(part.clone()),
            }
            if !self.modules.contains_key(&at) {
                at.1.pop();
                let path = self.modules.get(&at)?.aliases.get(part)?.first()?;
                let longer = [&path[..], &rest[index + 1..]].concat();
                return self.module_behind(&at, &longer, hops + 1);
            }
        }
        Some(at)
    }

    /// Whether a module has this name, by itself or through a glob.
    fn has(&self, key: &Key, name: &str, hops: usize) -> bool {
        let Some(module) = self.modules.get(key) else { return false };
        let child = (key.0.clone(), [&key.1[..], &[name.to_owned()]].concat());
        module.items.contains(name)
            || module.aliases.contains_key(name)
            || self.modules.contains_key(&child)
            || hops < MAX_HOPS
                && module.globs.iter().any(|glob| {
                    self.module_behind(key, glob, hops)
                        .is_some_and(|behind| behind != *key && self.has(&behind, name, hops + 1))
                })
    }
}
