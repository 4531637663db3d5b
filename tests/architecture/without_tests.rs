// SPDX-License-Identifier: MIT OR Apache-2.0

//! Leaves out test code: items behind `#[cfg(test)]` or core's feature `testing`.

use crate::tokens::{Located, Token};

/// A file's tokens without its tests.
#[derive(Debug, Default)]
pub struct Product {
    pub tokens: Vec<Located>,
    /// The modules that are declared for tests only.
    pub test_modules: Vec<TestModule>,
    /// The whole file is a test: `#![cfg(test)]`.
    pub is_test: bool,
}

/// `#[cfg(test)] mod name;`, perhaps with `#[path = "..."]`.
#[derive(Debug, PartialEq, Eq)]
pub struct TestModule {
    pub name: String,
    pub path: Option<String>,
}

/// Leaves out the items that stand behind a test attribute.
pub fn product(tokens: &[Located]) -> Product {
    let mut product = Product::default();
    let mut at = 0;
    while at < tokens.len() {
        if let Some((inside, end)) = attribute(tokens, at, true) {
            product.is_test |= is_test(inside);
            at = end;
        } else if let Some((inside, end)) = attribute(tokens, at, false) {
            if is_test(inside) {
                at = item_end(tokens, end, &mut product.test_modules);
            } else {
                product.tokens.extend_from_slice(&tokens[at..end]);
                at = end;
            }
        } else {
            product.tokens.push(tokens[at].clone());
            at += 1;
        }
    }
    product
}

fn is(tokens: &[Located], at: usize, sign: char) -> bool {
    tokens.get(at).is_some_and(|next| next.token.is_sign(sign))
}

/// The inside of the attribute that begins here, and the index behind it.
fn attribute(tokens: &[Located], at: usize, inner: bool) -> Option<(&[Located], usize)> {
    let open = if inner { at + 2 } else { at + 1 };
    let begins = is(tokens, at, '#') && (!inner || is(tokens, at + 1, '!'));
    if !begins || !is(tokens, open, '[') {
        return None;
    }
    let mut depth = 0;
    for (index, located) in tokens.iter().enumerate().skip(open) {
        match located.token {
            Token::Sign('[') => depth += 1,
            Token::Sign(']') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((&tokens[open + 1..index], index + 1));
        }
    }
    None
}

/// The spellings that mark test code. `tests/lines` knows the same ones.
fn is_test(attribute: &[Located]) -> bool {
    let text: String = attribute
        .iter()
        .map(|located| match &located.token {
            Token::Word(word) => word.clone(),
            Token::Text(text) => format!("{text:?}"),
            Token::Path => "::".to_owned(),
            Token::Sign(sign) => sign.to_string(),
        })
        .collect();
    let spellings = ["cfg(test)", "cfg(feature=\"testing\")", "cfg(any(test,feature=\"testing\"))"];
    spellings.contains(&text.as_str()) || text.starts_with("cfg(all(test,")
}

/// The index behind the item, field or statement that begins here.
fn item_end(tokens: &[Located], mut at: usize, modules: &mut Vec<TestModule>) -> usize {
    let mut path = None;
    while let Some((inside, end)) = attribute(tokens, at, false) {
        if let [name, _, Located { token: Token::Text(text), .. }] = inside
            && name.token.is_word("path")
        {
            path = Some(text.clone());
        }
        at = end;
    }
    let ends_with = ItemEnd::of(&tokens[at..]);
    let mut depth = 0;
    for (index, located) in tokens.iter().enumerate().skip(at) {
        match located.token {
            Token::Sign('{' | '(' | '[') => depth += 1,
            Token::Sign('}' | ')' | ']') if depth == 0 => return index,
            Token::Sign('}') => {
                depth -= 1;
                if depth == 0 && ends_with != ItemEnd::Semicolon {
                    return index + 1;
                }
            }
            Token::Sign(')' | ']') => depth -= 1,
            Token::Sign(',') if depth == 0 && ends_with == ItemEnd::Any => return index + 1,
            Token::Sign(';') if depth == 0 => {
                if let [.., keyword, Located { token: Token::Word(name), .. }] = &tokens[at..index]
                    && keyword.token.is_word("mod")
                {
                    modules.push(TestModule { name: name.clone(), path });
                }
                return index + 1;
            }
            _ => {}
        }
    }
    tokens.len()
}

/// What an item ends with.
#[derive(PartialEq, Eq)]
enum ItemEnd {
    /// `use a::{b};`
    Semicolon,
    /// `fn f<A, B>() {}`: a comma is inside of it.
    Brace,
    /// A field, a variant, a statement.
    Any,
}

impl ItemEnd {
    fn of(tokens: &[Located]) -> Self {
        let mut words = tokens.iter().filter_map(|located| match &located.token {
            Token::Word(word) => Some(word.as_str()),
            _ => None,
        });
        let mut last = "";
        for word in words.by_ref().take(8) {
            match (last, word) {
                (_, "pub" | "crate" | "super" | "unsafe" | "async" | "const" | "extern") => {}
                (_, "use" | "static" | "let" | "type") => return Self::Semicolon,
                (_, "fn" | "mod" | "impl" | "struct" | "enum" | "trait" | "union") => {
                    return Self::Brace;
                }
                (_, "macro_rules") => return Self::Brace,
                ("const", _) => return Self::Semicolon,
                _ => return Self::Any,
            }
            last = word;
        }
        Self::Any
    }
}
