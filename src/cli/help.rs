// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside --help`: the commands in groups, each with its own first line.

use clap::{Command, CommandFactory as _};

use super::Cli;

/// The groups, in the order in which people meet them.
const GROUPS: [(&str, &[&str]); 5] = [
    (
        "Follow the tag",
        &["check", "update", "reboot", "status", "history", "hold", "unhold", "switch"],
    ),
    ("Look after the slots", &["promote", "rollback", "retry", "verify"]),
    ("Ask before an update", &["hooks"]),
    ("Run by the system", &["health", "trial-deadline", "dbus-service"]),
    ("Build and try", &["image", "policy", "disk", "labels", "sim"]),
];

/// The command line, with the commands of the top level in groups.
pub fn command() -> Command {
    let command = Cli::command();
    let groups = groups(&command);
    command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}Options:\n{{options}}\n\n\
         `flipside help COMMAND` tells more.\n"
    ))
}

fn groups(command: &Command) -> String {
    let mut text = String::new();
    for (title, names) in GROUPS {
        let known = names.iter().filter_map(|name| command.find_subcommand(name));
        let lines: Vec<String> = known.map(line).collect();
        if !lines.is_empty() {
            text.push_str(&format!("{title}:\n{}\n", lines.concat()));
        }
    }
    text
}

fn line(command: &Command) -> String {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    format!("  {:<14}  {about}\n", command.get_name())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words that are written with capitals inside.
    const KNOWN: [&str; 2] = ["BootNext", "BootOrder"];

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_command_is_in_one_group_and_has_a_line() {
        let command = command();
        let mut shown: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        shown.retain(|name| command.find_subcommand(name).is_some());
        let mut all: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
        all.sort_unstable();
        shown.sort_unstable();
        assert_eq!(shown, all);
        let lines = groups(&command);
        for line in lines.lines().filter(|line| line.starts_with(' ')) {
            let (name, about) = line.trim_start().split_once("  ").unwrap();
            assert!(command.find_subcommand(name.trim_end()).is_some(), "{line}");
            let about = about.trim_start();
            assert!(about.starts_with(char::is_uppercase), "{line}");
        }
    }

    /// Names of types in the middle of a word, where one was renamed everywhere.
    #[test]
    fn no_help_has_a_name_of_the_code_in_it() {
        fn check(command: &Command) {
            let help = command.clone().render_long_help().to_string();
            let is_of_the_code = |word: &&str| {
                let word = word.trim_matches(|c: char| !c.is_alphanumeric());
                let is_joined = |pair: &[u8]| matches!(pair, [b'a'..=b'z', b'A'..=b'Z']);
                let is_known = KNOWN.contains(&word) || word.ends_with("iB");
                word.as_bytes().windows(2).any(is_joined) && !is_known
            };
            let found: Vec<&str> = help.split_whitespace().filter(is_of_the_code).collect();
            assert!(found.is_empty(), "{}: {found:?}", command.get_name());
            command.get_subcommands().for_each(check);
        }
        check(&command());
    }

    /// Where a terminal of 80 columns shows it.
    #[test]
    fn every_help_fits_80_columns_and_every_command_has_one_line() {
        fn check(command: &Command) {
            let name = command.get_name();
            let narrow = command.clone().term_width(80);
            for help in [narrow.clone().render_help(), narrow.clone().render_long_help()] {
                let help = help.to_string();
                let long: Vec<&str> =
                    help.lines().filter(|line| line.chars().count() > 80).collect();
                assert!(long.is_empty(), "{name}: {long:#?}");
                for below in shown(command) {
                    let about = below.get_about().unwrap().to_string();
                    let is_its = |line: &str| {
                        let line = line.trim_start().strip_prefix(below.get_name());
                        line.is_some_and(|line| line.trim_start() == about)
                    };
                    assert!(help.lines().any(is_its), "{name} {}: {help}", below.get_name());
                }
            }
            shown(command).for_each(check);
        }
        // clap's own `help` is in none of the groups.
        fn shown(command: &Command) -> impl Iterator<Item = &Command> {
            let is_shown = |below: &&Command| !below.is_hide_set() && below.get_name() != "help";
            command.get_subcommands().filter(is_shown)
        }
        let mut command = command();
        command.build();
        check(&command);
    }

    #[test]
    fn every_command_and_option_says_what_it_is_for() {
        fn check(command: &Command) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                let named = format!("{} {}", command.get_name(), argument.get_id());
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.chars().next().is_some_and(char::is_uppercase), "{named}: {help}");
                assert!(!help.ends_with('.'), "{named}: {help}");
            }
            command.get_subcommands().for_each(check);
        }
        check(&command());
    }
}
