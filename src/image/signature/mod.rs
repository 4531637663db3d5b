// SPDX-License-Identifier: MIT OR Apache-2.0

//! Did the owner of this host approve of an image? By cosign's signatures with keys, in both
//! of its forms: simple signing, and the Sigstore bundle.
//!
//! One valid signature by one of the host's keys over the right thing suffices. Whatever
//! stands beside it neither helps nor harms; certificates and transparency logs are not
//! looked at. What a signature says is read only after it was verified.

mod attachment;
pub mod bundle;
mod flaw;
mod key;
pub mod simple;
mod verifier;

pub use attachment::{
    BUNDLE_LIMIT, BUNDLE_MANIFEST_LIMIT, BUNDLE_TYPE, PAYLOAD_LIMIT, SIGNATURE_ANNOTATION,
    SIMPLE_TYPE, Signature, attached_bundles, bundles, is_attachment_tag, may_hold_bundle,
    no_signature, payloads, referrers_tag, says_something_else, signature_tag,
};
pub use flaw::Flaw;
pub use key::{Key, PublicKey, to_pem};
pub use verifier::{Form, Signed, Verifier};
