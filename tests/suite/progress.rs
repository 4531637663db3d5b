// SPDX-License-Identifier: MIT OR Apache-2.0

//! The progress of a run, on a terminal of 80 columns and as lines.

use std::os::unix::fs::FileExt as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::program_host::ProgramHost;
use crate::support::proxy::{Fault, Proxy};
use crate::support::registry::{Registry, fixture};

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
fn a_terminal_shows_what_to_do_below_an_error() {
    let host = ProgramHost::new();
    let Some((shown, longest)) = screen(&host, "history --log") else { return };
    let expected = [
        "flipside: no journal of a failed trial is kept here [trial-log-absent]",
        "          See `flipside history`. A trial leaves no log if `/var/log/journal` is",
        "          not persistent and its kernel did not start.",
    ];
    assert_eq!((shown, longest), (expected.map(str::to_owned).to_vec(), 80));
    // The message names the command already.
    let disk = std::fs::File::options().write(true).open(host.file("disk.img")).unwrap();
    disk.write_all_at(&[0xff; 8], 512 + 16).unwrap();
    let (shown, _) = screen(&host, "update").unwrap();
    let text = shown.concat();
    assert!(text.contains("run: sgdisk -e ") && text.ends_with("[gpt-damaged]"), "{shown:?}");
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

/// The arguments of a push of five blobs to a registry that has two of them, and where it is.
fn a_push(tag: &str) -> (Vec<String>, (Proxy, std::sync::Arc<Registry>)) {
    let registry = Registry::shared();
    let layout = fixture("reference-image-uncompressed");
    registry.push(&layout, "progress/push:1");
    let proxy = Proxy::start(registry.address());
    proxy.fault("HEAD", 3, Fault::Status(404, vec![], String::new()));
    let target = format!("{}/progress/push:{tag}", proxy.address());
    let layout = layout.display().to_string();
    (vec!["image".into(), "push".into(), layout, target], (proxy, registry))
}

#[test]
fn a_push_on_a_terminal_of_80_columns_ends_in_one_line_with_its_sums() {
    let host = ProgramHost::new();
    let (arguments, _registry) = a_push("terminal");
    // The result is longer, for its digest.
    let line = format!("{} > /dev/null", arguments.join(" "));
    let Some((shown, longest)) = screen(&host, &line) else { return };
    let [closing] = shown.as_slice() else { panic!("{shown:?}") };
    let expected = "flipside: pushed 3.8 MiB in 3 blobs, 2 were there already, ";
    assert!(closing.starts_with(expected) && closing.ends_with(" s"), "{closing}");
    assert!(longest <= 80, "{longest}");
}

#[test]
fn a_push_on_a_pipe_says_its_result_and_as_lines_or_json_what_it_sends() {
    let push = |progress: &[&str], tag| {
        let (arguments, _registry) = a_push(tag);
        let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
        let output = command.args(progress).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (result, lines) = push(&[], "pipe");
    assert!(result.starts_with("pushed 127.0.0.1:") && result.lines().count() == 1, "{result}");
    assert_eq!(lines, "");
    let (_, lines) = push(&["--progress", "plain"], "lines");
    let lines: Vec<&str> = lines.lines().collect();
    let blobs = "3.8 MiB in 3 blobs, 2 were there already";
    assert_eq!(lines[0], "flipside: comparing with what is there");
    assert_eq!(lines[1], format!("flipside: pushing {blobs}"));
    assert!(lines[2].starts_with(&format!("flipside: pushed {blobs}, ")), "{lines:?}");
    assert_eq!(lines.len(), 3, "{lines:?}");
    let (events, _) = push(&["--progress", "json", "--json"], "events");
    let events = events.lines().map_while(|line| serde_json::from_str::<Value>(line).ok());
    let sums: Vec<Value> = events.filter(|event| event["type"] == "progress").collect();
    let last = sums.last().unwrap();
    assert_eq!(last["phase"], "pushing");
    let sent = 417_321 + 3_649_536 + 1_231;
    assert_eq!((&last["written"], &last["write_total"]), (&sent.into(), &sent.into()));
}
