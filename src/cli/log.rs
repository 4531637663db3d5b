// SPDX-License-Identifier: MIT OR Apache-2.0

//! Messages of a run: as plain lines on stderr, or as entries in the journal.

use std::fmt::{self, Write as _};
use std::io;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::Global;
use crate::report::journal::TARGET;
use crate::report::journal::native::{Fields, Journald};

/// What went to the journal that stderr or stdout go to as well.
static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Shows messages from here on.
pub(super) fn start(global: &Global) {
    // Libraries speak only when they warn, or when everything is asked for.
    let others = match global.level {
        level if level == LevelFilter::TRACE => level,
        level => level.min(LevelFilter::WARN),
    };
    let filter = Targets::new()
        .with_default(others)
        .with_target("flipside", global.level)
        // What `--quiet` keeps off stderr is said in the journal all the same (P11).
        .with_target(TARGET, LevelFilter::TRACE);
    let stderr_is_journal = is_the_journal(io::stderr());
    let journald = Journald::of(&global.root).ok();
    let layer = Messages {
        stderr_is_journal: stderr_is_journal && journald.is_some(),
        journald,
        priorities: stderr_is_journal,
        shows_entries: global.level >= LevelFilter::DEBUG,
    };
    // Fails only where a subscriber exists already, which then shows the messages.
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
}

/// Whether what is written to `stream` goes to the journal: systemd.exec(5), `JOURNAL_STREAM`.
fn is_the_journal(stream: impl AsFd) -> bool {
    let Some(journal) = std::env::var("JOURNAL_STREAM").ok() else { return false };
    let Ok(stream) = nix::sys::stat::fstat(stream) else { return false };
    journal == format!("{}:{}", stream.st_dev, stream.st_ino)
}

/// Whether stderr goes to the journal, and `message` stands there already, as an entry.
pub(super) fn is_said_in_journal(message: &str) -> bool {
    let said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    is_the_journal(io::stderr()) && said.iter().any(|said| said == message)
}

/// Whether stdout goes to the journal, and entries there have said what this command did.
pub(super) fn is_done_in_journal() -> bool {
    let said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    is_the_journal(io::stdout()) && !said.is_empty()
}

struct Messages {
    journald: Option<Journald>,
    /// Messages go to the journal by its own protocol, not through stderr as well.
    stderr_is_journal: bool,
    /// Lines on stderr begin with their priority (sd-daemon(3)).
    priorities: bool,
    /// Entries are shown on stderr too.
    shows_entries: bool,
}

impl<S: Subscriber> Layer<S> for Messages {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let is_entry = event.metadata().target() == TARGET;
        let wants_journal = is_entry || self.stderr_is_journal;
        if wants_journal && self.send(event, &said).is_ok() {
            if is_entry && self.stderr_is_journal {
                SAID.lock().unwrap_or_else(PoisonError::into_inner).push(said.message.clone());
            }
            if self.stderr_is_journal || !self.shows_entries {
                return;
            }
        }
        // An entry that the journal did not take is lost where stderr is it, and said by the
        // command itself where it is not.
        if !is_entry || self.stderr_is_journal || self.shows_entries {
            self.write_line(*event.metadata().level(), &said, is_entry);
        }
    }
}

impl Messages {
    fn send(&self, event: &Event<'_>, said: &Said) -> io::Result<()> {
        let journald = self.journald.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let metadata = event.metadata();
        let is_entry = metadata.target() == TARGET;
        let mut fields = Fields::default();
        fields.push("MESSAGE", &said.message);
        let priority = match priority(*metadata.level()) {
            6 if is_entry => "5".to_owned(),
            other => other.to_string(),
        };
        fields.push("PRIORITY", &priority);
        fields.push("SYSLOG_IDENTIFIER", "flipside");
        if !is_entry {
            fields.push("FLIPSIDE_TARGET", metadata.target());
        }
        for (name, value) in &said.fields {
            fields.push(name, value);
        }
        journald.send(&fields)
    }

    fn write_line(&self, level: Level, said: &Said, is_entry: bool) {
        let word = match level {
            _ if is_entry => "journal: ",
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            Level::INFO => "",
            Level::DEBUG | Level::TRACE => "debug: ",
        };
        let mut line = match self.priorities {
            true => format!("<{}>{}", priority(level), said.message),
            false => format!("flipside: {word}{}", said.message),
        };
        let shown = said.fields.iter().filter(|_| !is_entry);
        for (name, value) in shown {
            let _ = write!(line, " {name}={value}");
        }
        super::stderr::complain(&line);
    }
}

/// syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// What an event says.
#[derive(Default)]
struct Said {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Said {
    fn take(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => self.fields.push((name, value)),
        }
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, format!("{value:?}"));
    }
}
