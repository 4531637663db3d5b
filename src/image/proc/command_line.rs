// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel's command line, `/proc/cmdline`.

/// The parameters, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine(Vec<(String, String)>);

impl CommandLine {
    /// Splits as the kernel does (`next_arg`): at white space outside of double quotes,
    /// which are then dropped. What follows `--` is for init.
    pub fn parse(text: &str) -> Self {
        let mut words = vec![String::new()];
        let mut is_quoted = false;
        for character in text.chars() {
            match (character, words.last_mut()) {
                ('"', _) => is_quoted = !is_quoted,
                (space, _) if space.is_ascii_whitespace() && !is_quoted => {
                    words.push(String::new());
                }
                (other, Some(word)) => word.push(other),
                (_, None) => {}
            }
        }
        let parameters = words
            .into_iter()
            .take_while(|word| word != "--")
            .filter(|word| !word.is_empty())
            .map(|word| match word.split_once('=') {
                Some((key, value)) => (key.to_owned(), value.to_owned()),
                None => (word, String::new()),
            })
            .collect();
        Self(parameters)
    }

    /// Every value given to `key`.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The value that counts where several are given.
    pub fn last(&self, key: &str) -> Option<&str> {
        self.0.iter().rfind(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_split_as_the_kernel_does() {
        let line = CommandLine::parse(
            "quiet root=PARTUUID=ab-c  init=\"/sbin/my init\" \"a b=c d\" root=/dev/x -- root=no\n",
        );
        assert_eq!(line.all("root").collect::<Vec<_>>(), ["PARTUUID=ab-c", "/dev/x"]);
        assert_eq!(line.last("root"), Some("/dev/x"));
        assert_eq!(line.last("quiet"), Some(""));
        assert_eq!(line.last("init"), Some("/sbin/my init"));
        assert_eq!(line.last("a b"), Some("c d"));
        assert_eq!(line.last("none"), None);
        assert_eq!(CommandLine::parse(""), CommandLine::default());
    }
}
