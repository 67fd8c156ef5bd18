//! Streams of real servers, and every way to cut or damage one.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

const GZ: &[u8] = include_bytes!("../../../testdata/storage/3.9.5/snapshot.38.gz");
const SNAPPY: &[u8] = include_bytes!("../../../testdata/storage/3.9.5/snapshot.38.snappy");
const BOTH: [Compression; 2] = [Compression::Gzip, Compression::Snappy];

fn compress(compression: Compression, bytes: &[u8], step: usize) -> Vec<u8> {
    let mut compressor = Compressor::new(compression);
    let mut out = Vec::new();
    for piece in bytes.chunks(step) {
        out.extend_from_slice(&compressor.push(Bytes::copy_from_slice(piece)));
    }
    out.extend_from_slice(&compressor.finish());
    out
}

fn decompress(compression: Compression, bytes: &[u8], step: usize) -> Result<Vec<u8>, Broken> {
    let mut decompressor = Decompressor::new(compression);
    let mut out = Vec::new();
    for piece in bytes.chunks(step) {
        decompressor.push(Bytes::copy_from_slice(piece));
        while let Some(bytes) = decompressor.next()? {
            assert!(!bytes.is_empty() && bytes.len() <= 1 << 20);
            out.extend_from_slice(&bytes);
        }
    }
    decompressor.finish()?;
    Ok(out)
}

/// A real snapshot: large enough for several blocks, and not random.
const PLAIN: &[u8] = include_bytes!("../../../testdata/storage/fuzzy-3.9.5/snapshot.27b7");

#[test]
fn files_compressed_by_java_are_read_in_any_pieces() {
    for step in [1, 7, 100, 5000] {
        let gz = decompress(Compression::Gzip, GZ, step).unwrap();
        assert_eq!(&gz[..4], b"ZKSN");
        assert_eq!(gz[gz.len() - 5..], *b"\0\0\0\x01/");
        let snappy = decompress(Compression::Snappy, SNAPPY, step).unwrap();
        // The two were taken at different moments, of the same tree.
        assert_eq!(gz.len(), snappy.len());
    }
}

#[test]
fn compressed_output_is_read_back_and_is_smaller() {
    for compression in BOTH {
        for step in [1000, 65536, 1 << 20] {
            let compressed = compress(compression, PLAIN, step);
            assert!(compressed.len() < PLAIN.len() / 2, "{compression:?}: {}", compressed.len());
            assert!(compressed.starts_with(compression.magic()));
            assert_eq!(decompress(compression, &compressed, 4096).unwrap(), PLAIN);
        }
        let empty = compress(compression, b"", 1);
        assert_eq!(decompress(compression, &empty, 4096).unwrap(), b"");
        // One stream after the other is as one.
        let twice = [empty, compress(compression, b"abc", 1), compress(compression, b"def", 1)];
        assert_eq!(decompress(compression, &twice.concat(), 5).unwrap(), b"abcdef");
    }
}

#[test]
fn no_cut_and_no_flipped_byte_passes_for_the_whole() {
    for (compression, all) in [(Compression::Gzip, GZ), (Compression::Snappy, SNAPPY)] {
        let whole = decompress(compression, all, 1 << 20).unwrap();
        for n in 0..all.len() {
            assert!(decompress(compression, &all[..n], 1 << 20) != Ok(whole.clone()), "cut at {n}");
        }
        for at in 0..all.len() {
            let mut bad = all.to_vec();
            bad[at] ^= 0x20;
            // Snappy has no checksum: the snapshot's own seals notice.
            let _ = decompress(compression, &bad, 1 << 20);
        }
    }
}

#[test]
fn optional_parts_of_a_gzip_header_are_passed_over() {
    let plain = compress(Compression::Gzip, b"content", 7);
    let mut all = Vec::from([0x1f, 0x8b, 8, 0b11110, 0, 0, 0, 0, 0, 3]);
    all.extend_from_slice(b"\x03\0ext");
    all.extend_from_slice(b"name\0comment\0");
    all.extend_from_slice(b"cr");
    all.extend_from_slice(&plain[10..]);
    for step in [1, 3, 100] {
        assert_eq!(decompress(Compression::Gzip, &all, step).unwrap(), b"content");
    }
    let mut endless = Vec::from([0x1f, 0x8b, 8, 0b01000, 0, 0, 0, 0, 0, 3]);
    endless.extend_from_slice(&[b'n'; 100_000]);
    assert_eq!(decompress(Compression::Gzip, &endless, 1000), Err(Broken::Header));
}

#[test]
fn a_block_that_claims_too_much_is_refused_before_anything_is_allocated() {
    let head = |length: i32, block: &[u8]| {
        let mut all = SNAPPY[..16].to_vec();
        all.extend_from_slice(&length.to_be_bytes());
        all.extend_from_slice(block);
        all
    };
    for all in [head(i32::MAX, b""), head(-1, b""), head(5, b"\xff\xff\xff\x7f\0")] {
        assert_eq!(decompress(Compression::Snappy, &all, 1000), Err(Broken::Data));
    }
    // A copy from before the start, a copy past the end, a literal past the end.
    for block in [b"\x04\x01\x01".as_slice(), b"\x04\x04ab\xff\x02\0", b"\x02\x0cabcd"] {
        let all = head(block.len() as i32, block);
        assert_eq!(decompress(Compression::Snappy, &all, 1000), Err(Broken::Data));
    }
}

#[test]
fn a_bomb_comes_out_piece_by_piece() {
    let zeros = alloc::vec![0; 64 << 20];
    let bomb = compress(Compression::Gzip, &zeros, 1 << 20);
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    let mut decompressor = Decompressor::new(Compression::Gzip);
    decompressor.push(bomb.into());
    let mut total = 0;
    while let Some(piece) = decompressor.next().unwrap() {
        assert!(piece.len() <= PIECE);
        total += piece.len();
    }
    assert_eq!(total, zeros.len());
}

#[test]
fn the_method_is_named_as_in_zookeeper() {
    let named = ["gz", "GZ", "snappy", "", "zip"].map(Compression::from_name);
    let [gz, snappy, none] = [Compression::Gzip, Compression::Snappy, Compression::None];
    assert_eq!(named, [gz, gz, snappy, none, none]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn blocks_are_those_of_snappy(
        seed in any::<u64>(),
        letters in 1_u8..=255,
        length in 0_usize..40_000,
    ) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut plain: Vec<u8> = Vec::new();
        while plain.len() < length {
            if rng.u8(..4) == 0 && plain.len() > 100 {
                let from = rng.usize(..plain.len() - 50);
                let n = rng.usize(1..=50);
                plain.extend_from_within(from..from + n);
            } else {
                plain.push(rng.u8(..letters));
            }
        }
        plain.truncate(32 << 10);
        let mut out = BytesMut::new();
        block::Compressor::new().compress(&plain, &mut out);
        prop_assert_eq!(&snap::raw::Decoder::new().decompress_vec(&out).unwrap(), &plain);
        let other = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
        let back = block::decompress(&other).unwrap();
        prop_assert_eq!(&back[..], &plain[..]);
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = block::decompress(&bytes);
        for (compression, golden) in [(Compression::Gzip, GZ), (Compression::Snappy, SNAPPY)] {
            let _ = decompress(compression, &bytes, 64);
            let behind = [&golden[..20], &bytes[..]].concat();
            let _ = decompress(compression, &behind, 64);
        }
    }
}
