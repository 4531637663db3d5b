// SPDX-License-Identifier: MIT OR Apache-2.0

//! The progress of a run, on a terminal of 80 columns and as lines.

use std::process::{Command, Stdio};

use crate::support::program_host::ProgramHost;

/// A line that the bars of 80 columns do not fill, so that one that is too long is seen.
const WIDE: u16 = 200;

/// What a terminal of 80 columns shows at the end, and the longest line that it ever showed;
/// `None`, with a message, without script(1) of util-linux.
fn screen(host: &ProgramHost, line: &str) -> Option<(Vec<String>, usize)> {
    let program = env!("CARGO_BIN_EXE_flipside");
    let command =
        format!("stty cols 80 rows 24; exec {program} --root {} {line}", host.0.path().display());
    let mut script = Command::new("script");
    script.args(["--quiet", "--command", &command, "/dev/null"]);
    script.env("TERM", "xterm").env("NO_COLOR", "1").stdin(Stdio::null());
    let Ok(output) = script.output() else {
        println!("skipped: no script(1) to make a terminal with");
        return None;
    };
    let mut parser = vt100::Parser::new(24, WIDE, 0);
    let rows = |parser: &vt100::Parser| -> Vec<String> {
        parser.screen().rows(0, WIDE).map(|row| row.trim_end().to_owned()).collect()
    };
    let mut longest = 0;
    for byte in &output.stdout {
        parser.process(&[*byte]);
        if [b'\r', b'\n', b'm'].contains(byte) {
            let widths = rows(&parser).into_iter().map(|row| row.chars().count());
            longest = longest.max(widths.max().unwrap_or(0));
        }
    }
    let shown = rows(&parser).into_iter().filter(|row| !row.is_empty()).collect();
    Some((shown, longest))
}

#[test]
fn a_terminal_of_80_columns_shows_one_closing_line_and_no_remains() {
    let host = ProgramHost::new();
    let Some((shown, longest)) = screen(&host, "check") else { return };
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert!(shown[0].starts_with("2 is available (sha256:") && longest <= 80, "{shown:?}");
    let (shown, longest) = screen(&host, "update").unwrap();
    assert!(longest <= 80, "{longest}: {shown:?}");
    let [closing, said] = shown.as_slice() else { panic!("{shown:?}") };
    assert_eq!(said, "2 is installed in slot B and boots once at the next reboot");
    let parts = ["flipside: fetched ", ", wrote ", ", read back ", " in ", " s"];
    assert!(parts.iter().all(|part| closing.contains(part)), "{closing}");
    let (shown, _) = screen(&host, "update").unwrap();
    assert_eq!(shown, ["nothing new: 2 in slot B waits for the next reboot"]);
}

#[test]
fn as_lines_each_phase_comes_once_for_each_payload_and_in_its_order() {
    let host = ProgramHost::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
    command.args(["--progress", "plain", "update", "--root"]).arg(host.0.path());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("flipside: ")).collect();
    let phases = [
        "looking for an update",
        "fetching the boot file",
        "comparing with what is there",
        "writing system: ",
        "reading back",
        "comparing with what is there",
        "writing kernel.efi: ",
        "reading back",
        "writing the boot entries",
        "fetched ",
    ];
    let mut expected = phases.iter().peekable();
    for line in &lines {
        expected.next_if(|phase| line.starts_with(**phase));
    }
    assert_eq!(expected.next(), None, "{text}");
    assert!(lines.len() <= phases.len() + 1 && !text.contains('%'), "{text}");
}
