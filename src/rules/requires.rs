// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether an image fits this host, and what runs on it: [`Rule::Compatible`](super::Rule::Compatible),
//! [`Rule::Requires`](super::Rule::Requires), [`Rule::EndOfLife`](super::Rule::EndOfLife).

use jiff::tz::TimeZone;

use super::Verdict;
use crate::image::constraints::{EndOfLife, Requires};
use crate::image::version;
use crate::printable;

/// The most characters of a version or a name that are shown.
const SHOWN: usize = 60;

fn shown(text: &str) -> String {
    printable::line(text, SHOWN)
}

/// What the rule saw of an image for the hosts `wanted` on one that is all of `host`, and says.
pub fn compatible(wanted: &[String], host: &[String]) -> (String, Verdict) {
    if wanted.is_empty() {
        return ("the image is for any host".to_owned(), Verdict::Allow);
    }
    let image_is_for = format!("the image is for {}", shown(&wanted.join(", ")));
    if wanted.iter().any(|name| host.contains(name)) {
        return (image_is_for, Verdict::Allow);
    }
    let host_is = match host {
        [] => "host.compatible names nothing".to_owned(),
        names => format!("this host is {}", shown(&names.join(", "))),
    };
    let why = format!("{image_is_for}, and {host_is}");
    (image_is_for, Verdict::block("not-compatible", why))
}

/// How to get to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way<'a> {
    /// Install it.
    Direct,
    /// Install what this tag or digest names first.
    Through(&'a str),
    /// There is none.
    None,
}

/// How to get to an image of the version `new` from `running`.
pub fn way<'a>(requires: Option<&'a Requires>, running: &str) -> Way<'a> {
    match requires {
        Some(Requires { lowest, via }) if version::is_below(running, lowest) => {
            via.as_deref().map_or(Way::None, Way::Through)
        }
        _ => Way::Direct,
    }
}

/// What the rule saw at an image of the version `new`, and says where there is no way to it.
pub fn requires(new: &str, requires: Option<&Requires>, running: &str) -> (String, Verdict) {
    let Some(Requires { lowest, via }) = requires else {
        return (format!("{} asks for no version", shown(new)), Verdict::Allow);
    };
    let saw = format!("{} asks for {}, {} runs", shown(new), shown(lowest), shown(running));
    match way(requires, running) {
        Way::Direct => (saw, Verdict::Allow),
        Way::Through(_) => {
            let via = via.as_deref().map(shown).unwrap_or_default();
            (format!("{saw}: by way of {via}"), Verdict::Allow)
        }
        Way::None => {
            let why = format!(
                "{} can be installed from {} on, {} runs, and it names nothing to pass through",
                shown(new),
                shown(lowest),
                shown(running)
            );
            (saw, Verdict::block("requires-newer", why))
        }
    }
}

/// What there is to tell of an image's end of life. Never a refusal.
pub fn end_of_life(of: Option<&EndOfLife>, host: &TimeZone) -> String {
    match of {
        Some(EndOfLife { at, text }) => {
            let text = printable::line(text, 2 * SHOWN);
            let text = if text.is_empty() { text } else { format!(": {text}") };
            format!("cared for until {}{text}", at.text(host))
        }
        None => "no end is known".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::{Refusal, Severity};

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn an_image_that_names_hosts_needs_one_that_is_among_them() {
        for (wanted, host, allowed) in [
            ("", "", true),
            ("", "edge", true),
            ("edge", "edge", true),
            ("box edge", "edge-2 edge", true),
            ("edge", "", false),
            ("edge", "edge-2", false),
            ("Edge", "edge", false),
        ] {
            let (_, decision) = compatible(&names(wanted), &names(host));
            assert_eq!(decision.is_allow(), allowed, "{wanted} on {host}");
            if let Some(Refusal { severity, code, .. }) = decision.refusal() {
                assert_eq!((*severity, *code), (Severity::Block, "not-compatible"));
            }
        }
    }

    #[test]
    fn a_version_that_is_too_low_goes_through_another_image_or_nowhere() {
        let asks = |via: Option<&str>| {
            Some(Requires { lowest: "1.10".into(), via: via.map(str::to_owned) })
        };
        for (wanted, running, expected, code) in [
            (None, "1", Way::Direct, None),
            (asks(None), "1.10", Way::Direct, None),
            (asks(Some("b")), "2", Way::Direct, None),
            (asks(Some("b")), "1.9", Way::Through("b"), None),
            (asks(Some("b")), "1.10~rc1", Way::Through("b"), None),
            (asks(None), "1.9", Way::None, Some("requires-newer")),
            (asks(None), "unknown", Way::None, Some("requires-newer")),
        ] {
            assert_eq!(way(wanted.as_ref(), running), expected, "{wanted:?} {running}");
            let (_, decision) = requires("2", wanted.as_ref(), running);
            let found = decision.refusal().map(|refusal| refusal.code);
            assert_eq!(found, code, "{wanted:?} {running}");
        }
    }

    #[test]
    fn the_end_of_life_is_one_line() {
        let told = EndOfLife::parse("2027-06-30 move\non").unwrap();
        let text = end_of_life(Some(&told), &TimeZone::UTC);
        assert_eq!(text, "cared for until 2027-06-30: move on");
    }
}
