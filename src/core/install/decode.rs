// SPDX-License-Identifier: MIT OR Apache-2.0

//! One frame in, one chunk out, and nothing is believed.

use zstd::zstd_safe::{
    DCtx, ErrorCode, find_frame_compressed_size, get_error_name, get_frame_content_size,
};

use flipside_image::Digest;

/// What is wrong with the bytes of a chunk.
#[derive(Debug, thiserror::Error)]
pub(super) enum Damage {
    #[error("its frame cannot be decoded: {0}")]
    Undecodable(&'static str),
    #[error("its frame holds {actual} bytes instead of {expected}")]
    Length { actual: u64, expected: u64 },
    #[error("its frame ends after {actual} bytes instead of {expected}")]
    FrameEnd { actual: u64, expected: u64 },
    #[error("its hash is not the one in the config")]
    Hash,
    #[error("the running slot does not give what it is made from")]
    Base,
    #[error("the layer ends before the payload does")]
    LayerEnds,
    #[error("the layer has data after the payload's last byte")]
    LayerGoesOn,
}

/// Decodes frames (RFC 8878, section 3.1.1), one after the other.
pub(super) struct FrameDecoder(DCtx<'static>);

impl FrameDecoder {
    pub(super) fn new() -> Self {
        Self(DCtx::create())
    }

    /// Fills `chunk`, which has exactly the chunk's size: a frame that holds more is
    /// not decoded further than that.
    pub(super) fn decode(&mut self, frame: &[u8], chunk: &mut [u8]) -> Result<(), Damage> {
        decode_by(&mut self.0, frame, chunk)
    }
}

/// The same of a frame that was made with `prefix` before its chunk, as it is and no dictionary.
pub(super) fn decode_patch(prefix: &[u8], frame: &[u8], chunk: &mut [u8]) -> Result<(), Damage> {
    let mut decoder = DCtx::create();
    decoder.ref_prefix(prefix).map_err(undecodable)?;
    decode_by(&mut decoder, frame, chunk)
}

fn decode_by(decoder: &mut DCtx<'_>, frame: &[u8], chunk: &mut [u8]) -> Result<(), Damage> {
    let expected = chunk.len() as u64;
    if let Ok(Some(actual)) = get_frame_content_size(frame)
        && actual != expected
    {
        return Err(Damage::Length { actual, expected });
    }
    // zstd would decode a second frame in the same slot as well.
    let end = find_frame_compressed_size(frame).map_err(undecodable)?;
    if end != frame.len() {
        return Err(Damage::FrameEnd { actual: end as u64, expected: frame.len() as u64 });
    }
    match decoder.decompress(chunk, frame).map_err(undecodable)? as u64 {
        actual if actual == expected => Ok(()),
        actual => Err(Damage::Length { actual, expected }),
    }
}

/// What zstd says about bytes that it does not take.
pub(super) fn undecodable(code: ErrorCode) -> Damage {
    Damage::Undecodable(get_error_name(code))
}

/// P3: asked of every chunk before any of its bytes goes to a medium.
pub(super) fn check_hash(chunk: &[u8], expected: &Digest) -> Result<(), Damage> {
    if Digest::of(chunk) == *expected { Ok(()) } else { Err(Damage::Hash) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(bytes: &[u8]) -> Vec<u8> {
        zstd::bulk::compress(bytes, 3).unwrap()
    }

    fn decode(frame: &[u8], length: usize) -> Result<Vec<u8>, Damage> {
        let mut chunk = vec![0; length];
        FrameDecoder::new().decode(frame, &mut chunk)?;
        Ok(chunk)
    }

    /// A frame without content size, as a streaming encoder makes it.
    fn frame_of_unknown_size(bytes: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(bytes, 3).unwrap()
    }

    #[test]
    fn a_frame_gives_its_chunk() {
        for length in [1, 1000, 4096, 1 << 20] {
            let bytes = vec![7; length];
            assert_eq!(decode(&frame(&bytes), length).unwrap(), bytes);
            assert_eq!(decode(&frame_of_unknown_size(&bytes), length).unwrap(), bytes);
        }
    }

    #[test]
    fn a_frame_of_another_length_is_damaged() {
        for frame in [frame, frame_of_unknown_size] {
            for length in [0, 1, 999, 1001, 1 << 20] {
                assert!(decode(&frame(&[7; 1000]), length).is_err(), "{length}");
            }
        }
    }

    #[test]
    fn a_bomb_is_not_decoded() {
        let bomb = frame_of_unknown_size(&vec![0; 64 << 20]);
        assert!(matches!(decode(&bomb, 1 << 20), Err(Damage::Undecodable(_))));
    }

    #[test]
    fn what_stands_behind_the_frame_is_damage() {
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9];
        for tail in [&b"x"[..], &frame(b""), &skippable] {
            let bytes = [&frame(&[7; 10])[..], tail].concat();
            assert!(matches!(decode(&bytes, 10), Err(Damage::FrameEnd { .. })), "{tail:?}");
        }
        assert!(decode(&skippable, 10).is_err());
        assert!(decode(&[&skippable[..], &frame(&[7; 10])].concat(), 10).is_err());
        assert!(decode(&[], 10).is_err());
    }

    #[test]
    fn a_patch_gives_its_chunk_with_its_prefix_alone() {
        use zstd::zstd_safe::{CCtx, CParameter};
        let prefix: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        // What begins like a dictionary is a prefix like any other.
        let magic = [0x37, 0xa4, 0x30, 0xec];
        for prefix in [prefix.clone(), [&magic[..], &prefix].concat()] {
            let chunk = [&prefix[1000..90_000], b"new", &prefix[..1000]].concat();
            let mut encoder = CCtx::create();
            encoder.set_parameter(CParameter::CompressionLevel(3)).unwrap();
            encoder.ref_prefix(&prefix).unwrap();
            let mut frame = Vec::with_capacity(chunk.len());
            encoder.compress2(&mut frame, &chunk).unwrap();
            assert!(frame.len() < 5000, "{}", frame.len());
            let mut made = vec![0; chunk.len()];
            decode_patch(&prefix, &frame, &mut made).unwrap();
            assert_eq!(made, chunk);
            for wrong in [&prefix[..prefix.len() - 4], b""] {
                made.fill(0);
                let decoded = decode_patch(wrong, &frame, &mut made);
                assert!(decoded.is_err() || made != chunk);
            }
            assert!(decode_patch(&prefix, &frame, &mut made[1..]).is_err());
            assert!(decode_patch(&prefix, &frame[1..], &mut made).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            length in 0_usize..300,
        ) {
            let _ = decode(&bytes, length);
            let _ = decode(&[&[0x28, 0xb5, 0x2f, 0xfd], &bytes[..]].concat(), length);
        }

        #[test]
        fn no_damage_makes_it_panic(at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = frame(b"some bytes, some bytes, and some other bytes");
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = decode(&bytes, 44);
        }
    }
}
