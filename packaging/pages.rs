// SPDX-License-Identifier: MIT OR Apache-2.0

//! Man pages: one for each command, and flipside.toml(5).

use std::path::Path;

use anyhow::Result;
use clap::Command;
use clap_mangen::Man;

use crate::markdown::{escape, to_man};

/// Commands of people who build images, on any machine; all others look after a host.
const USER_COMMANDS: [&str; 3] = ["image", "disk", "sim"];

const EXIT_STATUS: &str = r#".SH "EXIT STATUS"
.TP
0
Done, or nothing to do. Also where an automatic run is deferred or blocked.
.TP
1
An error, or an update that is blocked. One sentence on stderr says why, with a code in brackets.
.TP
2
The command line is wrong.
.TP
75
Deferred: the next run tries again.
.TP
100
With \fBcheck \-\-exit\-code\fP: an update is on offer.
"#;

const FILES: &str = r#".SH "FILES"
.TP
/etc/flipside/flipside.toml
The settings; see \fBflipside.toml\fP(5). Without it nothing is followed, and flipside does nothing.
.TP
/etc/flipside/hooks/pre\-upgrade.d/, /usr/lib/flipside/hooks/pre\-upgrade.d/
Programs that are asked before an update.
.TP
/etc/flipside/hooks/post\-promote.d/, /usr/lib/flipside/hooks/post\-promote.d/
Programs that are told after a promotion.
.TP
/usr/share/flipside/hooks/
Examples of the former.
.TP
/etc/flipside/health.d/, /usr/lib/flipside/health.d/
Programs that say whether a new system is healthy.
.TP
EFI/flipside/ on the EFI system partition
Boot files, and what each slot holds.
.TP
/run/flipside/status.json
What \fBflipside status\fP shows.
.TP
/var/lib/flipside/
History. It may be deleted.
"#;

/// Writes all pages to `directory`.
pub fn write(directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    let date = date();
    let mut failed = None;
    each(&flipside::cli::command(), None, &mut |command, parent| {
        let written = page(command, parent, &date)
            .and_then(|page| Ok(std::fs::write(directory.join(file_name(command)), page)?));
        failed = failed.take().or(written.err());
    });
    if let Some(error) = failed {
        return Err(error);
    }
    Ok(std::fs::write(directory.join("flipside.toml.5"), settings(&date))?)
}

/// Calls `call` with each command below and including `command`, and the one above it.
pub fn each(
    command: &Command,
    parent: Option<&Command>,
    call: &mut dyn FnMut(&Command, Option<&Command>),
) {
    let mut built = command.clone();
    if parent.is_none() {
        built = built.disable_help_subcommand(true);
        built.build();
    }
    call(&built, parent);
    for below in built.get_subcommands().filter(|below| !below.is_hide_set()) {
        each(below, Some(&built), call);
    }
}

/// `flipside-image-build` of `flipside image build`.
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn section(command: &Command) -> &'static str {
    let is_user_command = |word| USER_COMMANDS.contains(&word);
    if name(command).split('-').nth(1).is_some_and(is_user_command) { "1" } else { "8" }
}

/// The file of a command's page.
pub fn file_name(command: &Command) -> String {
    format!("{}.{}", name(command), section(command))
}

/// How other pages name it.
pub fn reference(command: &Command) -> String {
    format!("\\fB{}\\fP({})", escape(name(command)), section(command))
}

fn page(command: &Command, parent: Option<&Command>, date: &str) -> Result<String> {
    let man = Man::new(command.clone());
    let mut options = Vec::new();
    man.render_options_section(&mut options)?;
    let mut description = Vec::new();
    man.render_description_section(&mut description)?;

    let mut page = head(name(command), section(command), date);
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    page.push_str(&format!(
        ".SH \"NAME\"\n{} \\- {}\n",
        escape(name(command)),
        escape(about.trim_end_matches('.'))
    ));
    page.push_str(&synopsis(command));
    page.push_str(&tidy(&String::from_utf8(description)?));
    page.push_str(&tidy(&String::from_utf8(options)?));
    let below: Vec<&Command> = command.get_subcommands().filter(|c| !c.is_hide_set()).collect();
    if !below.is_empty() {
        page.push_str(".SH \"COMMANDS\"\n");
        for below in &below {
            let about = below.get_about().map(ToString::to_string).unwrap_or_default();
            page.push_str(&format!(".TP\n{}\n{}\n", reference(below), marked(&escape(&about))));
        }
    }
    page.push_str(EXIT_STATUS);
    if parent.is_none() {
        page.push_str(FILES);
    }
    let mut see: Vec<String> = parent.into_iter().chain(below).map(reference).collect();
    see.push("\\fBflipside.toml\\fP(5)".to_owned());
    page.push_str(&format!(".SH \"SEE ALSO\"\n{}\n", see.join(",\n")));
    Ok(page)
}

fn settings(date: &str) -> String {
    let mut page = head("flipside.toml", "5", date);
    page.push_str(".SH \"NAME\"\nflipside.toml \\- what flipside follows and how\n");
    page.push_str(".SH \"SYNOPSIS\"\n");
    for directory in ["/etc", "/run", "/usr/lib"] {
        page.push_str(&format!(
            "{directory}/flipside/flipside.toml\n.br\n{directory}/flipside/flipside.toml.d/*.toml\n"
        ));
        page.push_str(if directory == "/usr/lib" { "" } else { ".br\n" });
    }
    let text = include_str!("../docs/configuration.md");
    page.push_str(".SH \"DESCRIPTION\"\n");
    // The macro stands between a section's heading and its text already.
    let body = to_man(text);
    page.push_str(body.strip_prefix(".PP\n").unwrap_or(&body));
    page.push_str(".SH \"EXAMPLES\"\n");
    page.push_str("A commented file is in /usr/share/doc/flipside/examples.\n");
    page.push_str(".SH \"SEE ALSO\"\n\\fBflipside\\fP(8)\n");
    page
}

fn head(title: &str, section: &str, date: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let title = title.to_uppercase();
    format!(".TH \"{title}\" \"{section}\" \"{date}\" \"flipside {version}\" \"flipside\"\n")
}

fn synopsis(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    let words = name(command).replace('-', " ");
    let rest = usage.strip_prefix(command.get_bin_name().unwrap_or(&words)).unwrap_or(usage);
    let command = command.get_bin_name().unwrap_or(&words);
    format!(".SH \"SYNOPSIS\"\n\\fB{}\\fP {}\n", escape(command), escape(rest.trim()))
}

/// What `clap_mangen` writes, without the parts that formatters complain about.
fn tidy(roff: &str) -> String {
    let mut tidy = String::new();
    let roff = roff.replace("\n.br\n\n.br\n", "\n.sp\n").replace("\\*(Aq", "\\(aq");
    let lines = roff.lines().filter(|line| !line.starts_with(".ie ") && !line.starts_with(".el "));
    for line in lines.map(str::trim_end).filter(|line| !line.is_empty()) {
        match line.strip_prefix(".SH ") {
            Some(heading) => {
                tidy.push_str(&format!(".SH \"{}\"", heading.trim_matches('"')));
            }
            None if line.starts_with('.') => tidy.push_str(line),
            None => tidy.push_str(&marked(line)),
        }
        tidy.push('\n');
    }
    tidy
}

/// Text between backticks, in bold.
fn marked(line: &str) -> String {
    let line = line.replace("\\(ga", "`");
    let mut marked = String::new();
    for (number, part) in line.split('`').enumerate() {
        marked.push_str(match number {
            0 => "",
            n if n % 2 == 1 => "\\fB",
            _ => "\\fP",
        });
        marked.push_str(part);
    }
    marked
}

/// The day of `SOURCE_DATE_EPOCH`, or today.
fn date() -> String {
    let set = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
    let time = set.and_then(|second| jiff::Timestamp::from_second(second).ok());
    time.unwrap_or_else(jiff::Timestamp::now).strftime("%Y-%m-%d").to_string()
}
