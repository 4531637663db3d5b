// SPDX-License-Identifier: MIT OR Apache-2.0

//! From the certificate of a signer upward, through the certificates that come with the signature.

use super::algorithm::Answer;
use super::certificate::Certificate;

/// A certificate above the signer's, or that one, and whether the way to it holds.
struct Link<'a, 'c> {
    certificate: &'c Certificate<'a>,
    is_certain: Answer,
}

/// The signer's certificate and those above it.
pub(super) struct Chain<'a, 'c>(Vec<Link<'a, 'c>>);

impl<'a, 'c> Chain<'a, 'c> {
    /// From `signer` upward through `others`, each of which is looked at once.
    pub(super) fn of(signer: &'c Certificate<'a>, others: &'c [Certificate<'a>]) -> Self {
        let mut links = vec![Link { certificate: signer, is_certain: Answer::Yes }];
        let mut left: Vec<_> = others.iter().filter(|other| !other.is(signer)).collect();
        let mut next = 0;
        while let Some(link) = links.get(next) {
            let mut found = Vec::new();
            left.retain(|issuer| {
                let is_issuer = link.certificate.is_issued_by(issuer);
                match link.is_certain.clone().and(is_issuer) {
                    Answer::No => true,
                    is_certain => {
                        found.push(Link { certificate: issuer, is_certain });
                        false
                    }
                }
            });
            links.extend(found);
            next += 1;
        }
        Self(links)
    }

    /// The certificates, the signer's first.
    pub(super) fn certificates(&self) -> impl Iterator<Item = &'c Certificate<'a>> {
        self.0.iter().map(|link| link.certificate)
    }

    /// Whether it leads to `anchor`: it is one of them, or has issued one.
    pub(super) fn leads_to(&self, anchor: &Certificate<'_>) -> Answer {
        let mut found = Answer::No;
        for link in &self.0 {
            let is_anchor = Answer::of(link.certificate.is(anchor));
            let is_here = match is_anchor {
                Answer::No => link.certificate.is_issued_by(anchor),
                is_here => is_here,
            };
            match link.is_certain.clone().and(is_here) {
                Answer::Yes => return Answer::Yes,
                Answer::No => {}
                unknown => found = unknown,
            }
        }
        found
    }
}
