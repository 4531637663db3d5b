// SPDX-License-Identifier: MIT OR Apache-2.0

//! Markdown, as `docs/` uses it, to the `man` macros.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// The text below its first heading. A table becomes a list: its first column is what is
/// explained, the last explains it, those between follow by their headings.
pub fn to_man(text: &str) -> String {
    let mut page = Page::default();
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        page.take(event);
    }
    page.man
}

/// Text of one line or paragraph, with all that the macros would read as theirs escaped.
pub fn escape(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq").replace('`', "\\(ga")
}

#[derive(Default)]
struct Page {
    man: String,
    /// The paragraph, heading or cell that is being read.
    line: String,
    in_code_block: bool,
    /// How many lists are open.
    depth: usize,
    headings: Vec<String>,
    cells: Vec<String>,
    in_head: bool,
}

impl Page {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Text(text) if self.in_code_block => {
                for line in text.lines() {
                    self.put(&escape(line));
                }
            }
            Event::Text(text) => self.line.push_str(&escape(&text)),
            Event::Code(text) => self.line.push_str(&format!("\\fB{}\\fP", escape(&text))),
            Event::SoftBreak | Event::HardBreak => self.line.push('\n'),
            Event::Start(Tag::Emphasis) => self.line.push_str("\\fI"),
            Event::Start(Tag::Strong) => self.line.push_str("\\fB"),
            Event::End(TagEnd::Emphasis | TagEnd::Strong) => self.line.push_str("\\fP"),
            Event::End(TagEnd::Heading(level)) => {
                let heading = std::mem::take(&mut self.line);
                match level as usize {
                    1 => {}
                    2 => self.man.push_str(&format!(".SH \"{}\"\n", heading.to_uppercase())),
                    _ => self.man.push_str(&format!(".SS \"{heading}\"\n")),
                }
            }
            Event::Start(Tag::Paragraph) if self.depth == 0 => self.paragraph(),
            Event::End(TagEnd::Paragraph | TagEnd::Item) => self.flush(),
            Event::Start(Tag::List(_)) => {
                self.flush();
                self.depth += 1;
            }
            Event::End(TagEnd::List(_)) => self.depth -= 1,
            Event::Start(Tag::Item) => self.man.push_str(".IP \\(bu 3\n"),
            Event::Start(Tag::CodeBlock(_)) => {
                self.in_code_block = true;
                self.paragraph();
                self.man.push_str(".RS 4\n.nf\n");
            }
            Event::End(TagEnd::CodeBlock) => {
                self.in_code_block = false;
                self.man.push_str(".fi\n.RE\n");
            }
            Event::Start(Tag::TableHead) => self.in_head = true,
            Event::End(TagEnd::TableCell) => self.cells.push(std::mem::take(&mut self.line)),
            Event::End(TagEnd::TableHead) => {
                self.in_head = false;
                self.headings = std::mem::take(&mut self.cells);
            }
            Event::End(TagEnd::TableRow) => self.row(),
            _ => {}
        }
    }

    fn row(&mut self) {
        let cells = std::mem::take(&mut self.cells);
        let [first, between @ .., last] = cells.as_slice() else { return };
        self.man.push_str(".TP\n");
        self.put(first);
        self.put(last);
        for (heading, cell) in self.headings.clone().iter().skip(1).zip(between) {
            self.man.push_str(".br\n");
            self.put(&format!("\\fI{heading}:\\fP {cell}"));
        }
    }

    /// A heading begins one by itself.
    fn paragraph(&mut self) {
        let last = self.man.lines().last().unwrap_or_default();
        if !last.starts_with(".SH") && !last.starts_with(".SS") {
            self.man.push_str(".PP\n");
        }
    }

    fn flush(&mut self) {
        let text = std::mem::take(&mut self.line);
        for line in text.lines() {
            self.put(line);
        }
    }

    /// One line of text. A full stop at its beginning would be a macro.
    fn put(&mut self, line: &str) {
        if line.starts_with('.') {
            self.man.push_str("\\&");
        }
        self.man.push_str(line);
        self.man.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_construct_has_its_macro() {
        for (markdown, man) in [
            ("# Title\n\ntext\nmore", ".PP\ntext\nmore\n"),
            ("## Two words", ".SH \"TWO WORDS\"\n"),
            ("### Two words\n\ntext", ".SS \"Two words\"\ntext\n"),
            ("a `--b` and *c*", ".PP\na \\fB\\-\\-b\\fP and \\fIc\\fP\n"),
            ("\\.a 'b' C:\\\\d", ".PP\n\\&.a \\(aqb\\(aq C:\\ed\n"),
            ("[text](elsewhere.md)", ".PP\ntext\n"),
            ("- one\n- two\n", ".IP \\(bu 3\none\n.IP \\(bu 3\ntwo\n"),
            ("    .x\n    y\n", ".PP\n.RS 4\n.nf\n\\&.x\ny\n.fi\n.RE\n"),
            (
                "| key | takes | meaning |\n| - | - | - |\n| `a` | b | c |\n",
                ".TP\n\\fBa\\fP\nc\n.br\n\\fItakes:\\fP b\n",
            ),
        ] {
            assert_eq!(to_man(markdown), man, "{markdown}");
        }
    }
}
