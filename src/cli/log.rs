// SPDX-License-Identifier: MIT OR Apache-2.0

//! Messages of a run, as plain lines on stderr.

use std::fmt;
use std::io;
use std::os::fd::AsFd as _;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::Global;

/// Shows messages from here on.
pub(super) fn start(global: &Global) {
    // Libraries speak only when they warn, or when everything is asked for.
    let others = match global.level {
        level if level == tracing::level_filters::LevelFilter::TRACE => level,
        level => level.min(tracing::level_filters::LevelFilter::WARN),
    };
    let filter = Targets::new().with_default(others).with_target("flipside", global.level);
    let layer = tracing_subscriber::fmt::layer()
        .event_format(Lines { for_journal: stderr_is_the_journal() })
        .with_writer(Stderr)
        .with_ansi(false)
        .with_filter(filter);
    // Fails only where a subscriber exists already, which then shows the messages.
    let _ = tracing_subscriber::registry().with(layer).try_init();
}

/// Whether what is written to stderr goes to the journal: systemd.exec(5), `JOURNAL_STREAM`.
fn stderr_is_the_journal() -> bool {
    let Some(stream) = std::env::var("JOURNAL_STREAM").ok() else { return false };
    let Ok(stderr) = rustix::fs::fstat(io::stderr().as_fd()) else { return false };
    stream == format!("{}:{}", stderr.st_dev, stderr.st_ino)
}

struct Lines {
    /// Lines begin with their priority (sd-daemon(3)).
    for_journal: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (priority, word) = match *event.metadata().level() {
            Level::ERROR => (3, "error: "),
            Level::WARN => (4, "warning: "),
            Level::INFO => (6, ""),
            Level::DEBUG | Level::TRACE => (7, "debug: "),
        };
        match self.for_journal {
            true => write!(writer, "<{priority}>")?,
            false => write!(writer, "flipside: {word}")?,
        }
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// Writes past progress bars, and does not mind a stderr that nobody reads.
struct Stderr;

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line
    }
}

struct Line;

impl io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        super::output::write_to_stderr(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
