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
    format!("  {:<14}{about}\n", command.get_name())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let says = |line: &str| line.is_empty() || line.ends_with(':') || line.len() > 16;
        assert!(lines.lines().all(says), "{lines}");
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
