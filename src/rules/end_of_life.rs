// SPDX-License-Identifier: MIT OR Apache-2.0

//! [`Rule::EndOfLife`]: until when the image is cared for. It only tells, and never refuses.

use jiff::tz::TimeZone;

use super::evaluation::Evaluation;
use super::{Rule, Verdict};
use crate::system::zone_of;
use flipside_image::constraints::EndOfLife;
use flipside_image::printable;

/// The most characters of what an image tells people.
const TOLD: usize = 120;

/// Asks it about an image.
pub(super) fn ask(evaluation: &mut Evaluation<'_>, of: Option<&EndOfLife>) {
    let zone = zone_of(evaluation.candidate.means.root);
    evaluation.put(Rule::EndOfLife, &told(of, &zone), Verdict::Allow);
}

/// What there is to tell of an image's end of life.
fn told(of: Option<&EndOfLife>, host: &TimeZone) -> String {
    match of {
        Some(EndOfLife { at, text }) => {
            let text = printable::line(text, TOLD);
            let text = if text.is_empty() { text } else { format!(": {text}") };
            format!("cared for until {}{text}", at.text(host))
        }
        None => "no end is known".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_life_is_one_line() {
        let end = EndOfLife::parse("2027-06-30 move\non").unwrap();
        let text = told(Some(&end), &TimeZone::UTC);
        assert_eq!(text, "cared for until 2027-06-30: move on");
    }
}
