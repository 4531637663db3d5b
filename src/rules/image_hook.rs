// SPDX-License-Identifier: MIT OR Apache-2.0

//! [`Rule::ImageHook`]: the program that the new image brings allows it. It is fetched into memory
//! and run from there.

use std::io;

use super::evaluation::Evaluation;
use super::waypoint::Waypoint;
use super::{Error, Rule, Verdict};
use crate::codes;
use crate::hooks::{Answer, Asking, Blank, Executable};
use flipside_core::cancel::Cancel;
use flipside_core::install::{self, InstallError};
use flipside_core::progress::Silent;
use flipside_image::{HOOK_LIMIT, HOOK_PAYLOAD, Layer};
use flipside_source::{self as source, Source};

/// Asks it. `None` where there is none, or none that can be run.
pub(super) fn ask(
    evaluation: &mut Evaluation<'_>,
    asking: &Asking<'_>,
    waypoint: &Waypoint,
) -> Result<Option<Answer>, Error> {
    let means = &evaluation.candidate.means;
    let source = waypoint.source(evaluation.candidate.source);
    let installed = match &waypoint.image {
        Some(_) => None,
        // It is to be armed, and its hook may have changed its mind since.
        None => Some(source::fetch_image(source, &waypoint.tagged, means.architecture)?),
    };
    let Some(image) = waypoint.image.as_ref().or(installed.as_ref()) else { return Ok(None) };
    let Some(layer) = image.layer(HOOK_PAYLOAD) else {
        evaluation.put(Rule::ImageHook, "the image brings none", Verdict::Allow);
        return Ok(None);
    };
    let size = layer.payload.size;
    let observed = format!("{HOOK_PAYLOAD}, {size} bytes");
    if size > HOOK_LIMIT {
        let reason = format!("the image's hook has {size} bytes, more than {HOOK_LIMIT}");
        evaluation.put(
            Rule::ImageHook,
            &observed,
            Verdict::block(codes::IMAGE_HOOK_TOO_LARGE, reason),
        );
        return Ok(None);
    }
    let answer = match fetch(source, &layer, means.stop)? {
        Ok(program) => asking.image(HOOK_PAYLOAD, &program),
        Err(error) => {
            let reason = format!("the image's hook cannot be run from memory: {error}");
            evaluation.put(Rule::ImageHook, &observed, Verdict::block(codes::HOOK_FAILED, reason));
            return Ok(None);
        }
    };
    means.stop.check()?;
    evaluation.put_answers(Rule::ImageHook, &observed, std::slice::from_ref(&answer));
    Ok(Some(answer))
}

/// Each chunk is held against its hash (P3). The inner error is that of keeping the program.
fn fetch(
    source: &dyn Source,
    layer: &Layer<'_>,
    stop: &Cancel,
) -> Result<io::Result<Executable>, InstallError> {
    let blank = match Blank::new(HOOK_PAYLOAD, layer.payload.size) {
        Ok(blank) => blank,
        Err(error) => return Ok(Err(error)),
    };
    let options = install::Options { read_back: false, ..install::Options::default() };
    install::write_payload(source, layer, &blank, &options, &Silent, stop)?;
    Ok(blank.seal())
}
