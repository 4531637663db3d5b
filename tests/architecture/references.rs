// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a file names: `use` declarations, inline paths, macros, and the items it defines.

use crate::tokens::{Located, Token};

/// A path that code names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    pub line: usize,
    /// The inline modules around it.
    pub inside: Vec<String>,
    /// A leading `::` is an empty part.
    pub parts: Vec<String>,
    /// For `use` declarations.
    pub import: Option<Import>,
}

/// What a `use` declaration makes of its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Import {
    /// A name of this module.
    Name(String),
    /// `as _`
    Nameless,
    /// `*`
    All,
}

/// Everything that a file names.
#[derive(Debug, Default)]
pub struct References {
    pub mentions: Vec<Mention>,
    /// Macros that are called, without the `!`.
    pub macros: Vec<(usize, String)>,
    /// Items, with the inline modules around them.
    pub items: Vec<(Vec<String>, String)>,
    /// The inline modules.
    pub modules: Vec<Vec<String>>,
    /// Lines of `#[path = "..."]`: a reader of paths cannot follow them.
    pub path_attributes: Vec<usize>,
}

/// Reads what a file names from its tokens.
pub fn read(tokens: &[Located]) -> References {
    let mut reader = Reader {
        tokens,
        at: 0,
        depth: 0,
        inside: Vec::new(),
        depths: Vec::new(),
        found: References::default(),
    };
    while reader.at < tokens.len() {
        reader.step();
    }
    reader.found
}

struct Reader<'a> {
    tokens: &'a [Located],
    at: usize,
    depth: usize,
    inside: Vec<String>,
    /// The depth at which each of the inline modules ends.
    depths: Vec<usize>,
    found: References,
}

impl Reader<'_> {
    fn token(&self, at: usize) -> Option<&Token> {
        self.tokens.get(at).map(|located| &located.token)
    }

    fn is(&self, at: usize, sign: char) -> bool {
        self.token(at) == Some(&Token::Sign(sign))
    }

    fn word(&self, at: usize) -> Option<&str> {
        match self.token(at) {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn step(&mut self) {
        match &self.tokens[self.at].token {
            Token::Sign('{') => self.depth += 1,
            Token::Sign('}') => {
                self.depth = self.depth.saturating_sub(1);
                if self.depths.last() == Some(&self.depth) {
                    self.depths.pop();
                    self.inside.pop();
                }
            }
            Token::Word(word) if word == "use" && !self.is(self.at + 1, '<') => {
                self.at += 1;
                self.imports(Vec::new());
                return;
            }
            Token::Word(_) => return self.word_or_path(),
            Token::Path if self.begins_path() => return self.path(),
            Token::Sign('[')
                if self.is(self.at.wrapping_sub(1), '#')
                    && self.word(self.at + 1) == Some("path")
                    && self.is(self.at + 2, '=') =>
            {
                self.found.path_attributes.push(self.tokens[self.at].line);
            }
            _ => {}
        }
        self.at += 1;
    }

    /// A `::` that neither follows a name nor `<T as Trait>`.
    fn begins_path(&self) -> bool {
        self.word(self.at + 1).is_some()
            && !matches!(
                self.token(self.at.wrapping_sub(1)),
                Some(Token::Word(_) | Token::Sign('>' | ')' | ']'))
            )
    }

    fn word_or_path(&mut self) {
        let at = self.at;
        let word = self.word(at).unwrap_or_default().to_owned();
        if self.token(at + 1) == Some(&Token::Path) && self.word(at + 2).is_some() {
            return self.path();
        }
        let scope = self.depths.last().map_or(0, |depth| depth + 1);
        if self.depth == scope {
            self.item(&word);
        }
        let is_call = self.is(at + 1, '!') && !self.is(at + 2, '=');
        if is_call {
            self.found.macros.push((self.tokens[at].line, word));
        }
        self.at += 1;
    }

    fn item(&mut self, keyword: &str) {
        let name_at = match keyword {
            "fn" | "struct" | "enum" | "trait" | "type" | "const" | "static" | "union" | "mod" => 1,
            "macro_rules" => 2,
            _ => return,
        };
        let Some(name) = self.word(self.at + name_at).map(str::to_owned) else { return };
        if keyword == "mod" {
            if self.is(self.at + 2, '{') {
                self.inside.push(name);
                self.depths.push(self.depth);
                self.found.modules.push(self.inside.clone());
            }
            return;
        }
        self.found.items.push((self.inside.clone(), name));
    }

    fn path(&mut self) {
        let (start, line) = (self.at, self.tokens[self.at].line);
        let mut parts = Vec::new();
        if self.token(self.at) == Some(&Token::Path) {
            parts.push(String::new());
            self.at += 1;
        }
        while let Some(word) = self.word(self.at) {
            parts.push(word.to_owned());
            self.at += 1;
            if self.token(self.at) != Some(&Token::Path) || self.word(self.at + 1).is_none() {
                break;
            }
            self.at += 1;
        }
        if self.is(self.at, '!') && !self.is(self.at + 1, '=') {
            let name = parts.last().cloned().unwrap_or_default();
            self.found.macros.push((line, name));
        }
        // `pub(in crate::host)` uses nothing.
        let is_visibility = start >= 3
            && self.word(start - 1) == Some("in")
            && self.is(start - 2, '(')
            && self.word(start - 3) == Some("pub");
        if !is_visibility {
            self.mention(line, parts, None);
        }
    }

    fn mention(&mut self, line: usize, parts: Vec<String>, import: Option<Import>) {
        self.found.mentions.push(Mention { line, inside: self.inside.clone(), parts, import });
    }

    /// One branch of a `use` declaration. `parts` stands before its braces.
    fn imports(&mut self, mut parts: Vec<String>) {
        if self.token(self.at) == Some(&Token::Path) {
            parts.push(String::new());
            self.at += 1;
        }
        while let Some(located) = self.tokens.get(self.at) {
            let line = located.line;
            match &located.token {
                Token::Word(word) => {
                    if word != "self" || parts.is_empty() {
                        parts.push(word.clone());
                    }
                    self.at += 1;
                    if self.token(self.at) == Some(&Token::Path) {
                        self.at += 1;
                        continue;
                    }
                    let import = self.name(&parts);
                    return self.mention(line, parts, Some(import));
                }
                Token::Sign('*') => {
                    self.at += 1;
                    return self.mention(line, parts, Some(Import::All));
                }
                Token::Sign('{') => {
                    self.at += 1;
                    while self.at < self.tokens.len() && !self.is(self.at, '}') {
                        if self.is(self.at, ',') {
                            self.at += 1;
                        } else {
                            self.imports(parts.clone());
                        }
                    }
                    self.at += 1;
                    return;
                }
                _ => {
                    self.at += 1;
                    return;
                }
            }
        }
    }

    /// The name that a `use` declaration gives its path.
    fn name(&mut self, parts: &[String]) -> Import {
        if self.word(self.at) != Some("as") {
            return Import::Name(parts.last().cloned().unwrap_or_default());
        }
        let name = self.word(self.at + 1).unwrap_or_default().to_owned();
        self.at += 2;
        if name == "_" { Import::Nameless } else { Import::Name(name) }
    }
}
