// SPDX-License-Identifier: MIT OR Apache-2.0

//! Rust source text as tokens. Comments, lifetimes and numbers are left out.

/// A token that can be part of a reference, or that separates two of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// An identifier or a keyword.
    Word(String),
    /// What a string literal holds. Character literals are empty strings.
    Text(String),
    /// `::`
    Path,
    /// Any other character.
    Sign(char),
}

impl Token {
    /// Whether it is this word.
    pub fn is_word(&self, word: &str) -> bool {
        matches!(self, Self::Word(own) if own == word)
    }

    /// Whether it is this character.
    pub fn is_sign(&self, sign: char) -> bool {
        *self == Self::Sign(sign)
    }
}

/// A token and its line, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    pub token: Token,
    pub line: usize,
}

/// Splits a source file into its tokens.
pub fn read(text: &str) -> Vec<Located> {
    let mut reader = Reader { rest: text.chars().collect(), at: 0, line: 1, tokens: Vec::new() };
    while reader.at < reader.rest.len() {
        reader.step();
    }
    reader.tokens
}

struct Reader {
    rest: Vec<char>,
    at: usize,
    line: usize,
    tokens: Vec<Located>,
}

fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

impl Reader {
    fn peek(&self, ahead: usize) -> char {
        self.rest.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn next(&mut self) -> char {
        let c = self.peek(0);
        self.at += 1;
        if c == '\n' {
            self.line += 1;
        }
        c
    }

    fn push(&mut self, line: usize, token: Token) {
        self.tokens.push(Located { token, line });
    }

    fn step(&mut self) {
        let line = self.line;
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => while self.at < self.rest.len() && self.next() != '\n' {},
            ('/', '*') => self.block_comment(),
            ('"', _) => self.string(),
            ('\'', _) => self.character_or_lifetime(),
            (':', ':') => {
                self.at += 2;
                self.push(line, Token::Path);
            }
            (c, _) if c.is_ascii_digit() => {
                while is_name(self.peek(0)) {
                    self.at += 1;
                }
            }
            (c, _) if is_name(c) => self.word(),
            (c, _) => {
                self.next();
                if !c.is_whitespace() {
                    self.push(line, Token::Sign(c));
                }
            }
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.rest.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.next();
                    continue;
                }
            }
            self.at += 2;
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        let (line, mut text) = (self.line, String::new());
        self.next();
        while self.at < self.rest.len() {
            match self.next() {
                '"' => break,
                '\\' => {
                    text.push('\\');
                    text.push(self.next());
                }
                c => text.push(c),
            }
        }
        self.push(line, Token::Text(text));
    }

    fn raw_string(&mut self, hashes: usize) {
        let (line, start) = (self.line, self.at + hashes + 1);
        self.at = start;
        while self.at < self.rest.len() {
            if self.next() == '"' && (0..hashes).all(|ahead| self.peek(ahead) == '#') {
                break;
            }
        }
        let text = self.rest[start..self.at - 1].iter().collect();
        self.at += hashes;
        self.push(line, Token::Text(text));
    }

    fn character_or_lifetime(&mut self) {
        let line = self.line;
        self.next();
        if self.peek(0) == '\\' {
            self.at += 2;
            while self.at < self.rest.len() && self.next() != '\'' {}
        } else if self.peek(1) == '\'' {
            self.next();
            self.next();
        } else {
            while is_name(self.peek(0)) {
                self.at += 1;
            }
            return;
        }
        self.push(line, Token::Text(String::new()));
    }

    fn word(&mut self) {
        let (line, start) = (self.line, self.at);
        while is_name(self.peek(0)) {
            self.at += 1;
        }
        let word: String = self.rest[start..self.at].iter().collect();
        let hashes = (0..).take_while(|ahead| self.peek(*ahead) == '#').count();
        match word.as_str() {
            "r" | "br" | "cr" if self.peek(hashes) == '"' => self.raw_string(hashes),
            "b" | "c" if self.peek(0) == '"' => self.string(),
            "b" if self.peek(0) == '\'' => self.character_or_lifetime(),
            "r" if hashes == 1 && is_name(self.peek(1)) => {
                self.at += 1;
                self.word();
            }
            _ => self.push(line, Token::Word(word)),
        }
    }
}
