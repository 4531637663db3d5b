// SPDX-License-Identifier: MIT OR Apache-2.0

//! Elements of DER (X.690, sections 8.1 and 10.1), one after the other and as they stand: what is
//! hashed or compared must not be encoded anew.

use x509_parser::asn1_rs::{Any, FromDer as _, Oid};

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTETS: u8 = 0x04;
pub(crate) const OBJECT: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
/// `[0]`, constructed.
pub(crate) const FIRST: u8 = 0xa0;
/// `[1]`, constructed.
pub(crate) const SECOND: u8 = 0xa1;

/// An element.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element<'a> {
    /// All of it.
    pub whole: &'a [u8],
    /// What it holds.
    pub contents: &'a [u8],
}

/// Takes an element off the front. What follows it may be no DER.
pub(crate) fn take_any<'a>(rest: &mut &'a [u8]) -> Option<Element<'a>> {
    let (behind, any) = Any::from_der(rest).ok()?;
    let whole = rest.get(..rest.len().checked_sub(behind.len())?)?;
    *rest = behind;
    Some(Element { whole, contents: any.data })
}

/// The same, where it has to begin with this byte: class, form and number of its tag. Otherwise nothing
/// is taken.
pub(crate) fn take<'a>(rest: &mut &'a [u8], tag: u8) -> Option<Element<'a>> {
    (rest.first() == Some(&tag)).then(|| take_any(rest)).flatten()
}

/// The contents of an object identifier in dotted form, for people.
pub(crate) fn dotted(object: &[u8]) -> String {
    // What is longer than any that is in use takes long to be written out, and an unfinished number is
    // none.
    match object {
        [.., 0..0x80] if object.len() <= 32 => Oid::new(object.into()).to_id_string(),
        _ => "an unknown kind".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn elements_are_taken_as_they_stand() {
        let bytes = [0x30, 3, 0x02, 1, 5, 0x04, 0x81, 0x80];
        let mut rest = &bytes[..];
        assert!(take(&mut rest, SET).is_none());
        let first = take(&mut rest, SEQUENCE).unwrap();
        assert_eq!((first.whole, first.contents), (&bytes[..5], &bytes[2..5]));
        assert_eq!(rest, &bytes[5..]);
        // Its contents are cut.
        assert!(take_any(&mut rest).is_none());
        assert!(take_any(&mut &[0x30, 0x80, 0, 0][..]).is_none(), "a length that is not definite");
        assert!(take_any(&mut &[][..]).is_none());
    }

    #[test]
    fn objects_are_dotted() {
        let rsa = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
        assert_eq!(dotted(&rsa), "1.2.840.113549.1.1.1");
        for none in [&[][..], &[0x2a, 0x86], &[0x2a; 33]] {
            assert_eq!(dotted(none), "an unknown kind");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_apart_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut rest = &bytes[..];
            while let Some(element) = take_any(&mut rest) {
                prop_assert!(element.whole.ends_with(element.contents));
            }
            dotted(&bytes);
        }
    }
}
