// SPDX-License-Identifier: MIT OR Apache-2.0

//! A full install, beside those who do the same, and what reading back costs.

use crate::bed::Bed;
use crate::host::Host;
use crate::link::FAST_ETHERNET;
use crate::measure::{Contestant, in_turn};
use crate::medium::{Medium, Slot};
use crate::peers;
use crate::subject::Subject;
use crate::table::{self, part, versus};

/// Everything is fetched and written.
pub const IN_FULL: &str = "[update]\ndeltas = false\n";
const WITHOUT_READ_BACK: &str = "[update]\ndeltas = false\nread_back = false\n";

pub fn figures(bed: &Bed, subject: &Subject) {
    let medium = Medium::best();
    let size = subject.pair.new.metadata().unwrap().len();
    let host = Host::new(bed, "install", &subject.old, &[], medium);
    let slot = Slot::new(bed.directory.join("peers-slot"), size, medium);
    let direct = bed.reference(&subject.new);
    let ours = |settings: &'static str| {
        let (host, direct) = (&host, direct.clone());
        move || host.follow(&direct, settings).measure()
    };
    let mut contestants = vec![
        Contestant::new("flipside", ours(IN_FULL)),
        Contestant::new("flipside without read-back", ours(WITHOUT_READ_BACK)),
        peers::by_hand("by hand, sha256sum", bed, &subject.new, &slot, "sha256sum"),
        peers::by_hand("by hand, openssl dgst", bed, &subject.new, &slot, "openssl dgst -sha256"),
    ];
    let others = [
        ("RAUC", peers::rauc(bed, &subject.pair.new, &slot)),
        ("SWUpdate", peers::swupdate(bed, &subject.pair.new, &slot)),
    ];
    for (name, peer) in others {
        match peer {
            Ok(peer) => contestants.push(peer),
            Err(why) => table::skipped(&format!("install, against {name}"), &why),
        }
    }
    let rounds = in_turn(&contestants);
    let medium = medium.name();
    for (contestant, theirs) in contestants.iter().zip(&rounds).skip(2) {
        let name = format!("install, {medium}, against {}", contestant.name);
        let (wall, cpu) = match contestant.name.starts_with("by hand") {
            true => ("0.60", "0.50"),
            false => ("0.55", "0.65"),
        };
        versus(&name, &rounds[0], theirs, wall, cpu);
    }
    versus("read-back's price, with against without", &rounds[0], &rounds[1], "1.15", "");
    drop(contestants);
    slow(bed, subject, &host);
}

/// Over a line of 100 Mbit/s.
fn slow(bed: &Bed, subject: &Subject, host: &Host) {
    bed.link.set_rate(FAST_ETHERNET);
    let line = bed.over_the_line(&subject.new);
    let ours = |settings: &'static str| {
        let line = line.clone();
        move || host.follow(&line, settings).measure()
    };
    let rounds = in_turn(&[
        Contestant::new("with", ours(IN_FULL)),
        Contestant::new("without", ours(WITHOUT_READ_BACK)),
    ]);
    bed.link.set_rate(0);
    let name = "read-back's price at 100 Mbit/s: wall";
    part(name, &rounds[0], &rounds[1], |usage| usage.wall, "1.03");
}
