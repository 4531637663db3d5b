// SPDX-License-Identifier: MIT OR Apache-2.0

//! Who has to be told before a reboot.

/// What logind says of a session (sd-login(3)).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Session {
    /// The user's name.
    pub user: String,
    /// The terminal, such as `pts/0`; empty for none.
    pub terminal: String,
    /// `user`, `greeter`, `background`, `manager`, ...
    pub class: String,
    /// `tty`, `x11`, `wayland`, `unspecified`, ...
    pub kind: String,
    /// `online`, `active` or `closing`.
    pub state: String,
}

impl Session {
    /// Whether a person sits in front of it: a terminal or a screen, and not a login prompt, a
    /// service or what is left of a session that ended.
    pub fn is_a_person(&self) -> bool {
        let has_screen = matches!(self.kind.as_str(), "x11" | "wayland" | "mir");
        let is_of_user = self.class == "user" || self.class.starts_with("user-");
        is_of_user && self.state != "closing" && (has_screen || !self.terminal.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_have_a_terminal_or_a_screen() {
        for (terminal, class, kind, state, is_a_person) in [
            ("pts/0", "user", "tty", "active", true),
            ("tty1", "user", "tty", "online", true),
            ("", "user", "wayland", "active", true),
            ("pts/0", "user-early", "tty", "active", true),
            ("", "user", "unspecified", "active", false),
            ("tty1", "greeter", "wayland", "active", false),
            ("", "manager", "unspecified", "active", false),
            ("", "background", "unspecified", "active", false),
            ("pts/0", "user", "tty", "closing", false),
            ("", "", "", "", false),
        ] {
            let session = Session {
                user: "ada".into(),
                terminal: terminal.into(),
                class: class.into(),
                kind: kind.into(),
                state: state.into(),
            };
            assert_eq!(session.is_a_person(), is_a_person, "{session:?}");
        }
    }
}
