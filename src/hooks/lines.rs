// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a program prints, without keeping all of it.

use flipside_image::printable;
use flipside_image::redact::redact;

/// The most bytes that are kept of a line.
const LINE_LIMIT: usize = 4096;

/// The most characters that are shown of a line.
const SHOWN: usize = 200;

/// Takes output in pieces and hands over its lines, each cut at [`LINE_LIMIT`] bytes.
#[derive(Debug, Default)]
pub(super) struct Lines {
    current: Vec<u8>,
    last: String,
}

impl Lines {
    /// Takes the next bytes; `each` gets every line that they complete.
    pub(super) fn take(&mut self, bytes: &[u8], mut each: impl FnMut(&str)) {
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let room = LINE_LIMIT.saturating_sub(self.current.len());
            self.current.extend(piece.iter().take(room));
            if pieces.peek().is_some() {
                self.complete(&mut each);
            }
        }
    }

    /// The last line that says something, printable and shortened; also where
    /// no line feed ends it.
    pub(super) fn finish(mut self, mut each: impl FnMut(&str)) -> String {
        self.complete(&mut each);
        self.last
    }

    fn complete(&mut self, each: &mut impl FnMut(&str)) {
        // podman names signed URLs, and scripts what they were given.
        let line = redact(&String::from_utf8_lossy(&self.current));
        let line = printable::line(&line, SHOWN);
        self.current.clear();
        if !line.is_empty() {
            each(&line);
            self.last = line;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn last(pieces: &[&[u8]]) -> String {
        let mut lines = Lines::default();
        for piece in pieces {
            lines.take(piece, |_| ());
        }
        lines.finish(|_| ())
    }

    #[test]
    fn the_last_line_that_says_something_counts() {
        for (pieces, expected) in [
            (vec![], ""),
            (vec!["one\ntwo\n"], "two"),
            (vec!["one\ntw", "o"], "two"),
            (vec!["one\n", "\n  \n"], "one"),
            (vec!["\x1b[31mred\x1b[0m\r\n"], "[31mred[0m"),
            (vec!["tab\there\u{202e}\u{7}"], "tab here"),
        ] {
            let bytes: Vec<&[u8]> = pieces.iter().map(|piece| piece.as_bytes()).collect();
            assert_eq!(last(&bytes), expected);
        }
        assert_eq!(last(&[b"\xff\xfeok"]), "\u{fffd}\u{fffd}ok");
    }

    #[test]
    fn long_lines_are_cut() {
        let long = "é".repeat(100_000);
        let shown = last(&[long.as_bytes()]);
        assert_eq!(shown.chars().count(), SHOWN);
        assert!(shown.ends_with("é…"));
        assert_eq!(last(&["é".repeat(SHOWN).as_bytes()]).chars().count(), SHOWN);
    }

    proptest! {
        #[test]
        fn no_output_is_shown_with_controls(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..8),
        ) {
            let shown = last(&pieces.iter().map(Vec::as_slice).collect::<Vec<_>>());
            prop_assert!(shown.chars().count() <= SHOWN && !shown.contains(char::is_control));
        }
    }
}
