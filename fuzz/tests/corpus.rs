//! Every fuzz target on its corpus, and on seeded mutations of it: what the fuzzers know stays
//! known.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fastrand::Rng;
use zabkeeper_fuzz::targets::{TARGETS, Target};

/// Mutations of each target's corpus, or as many as there is time for.
const MUTATIONS: usize = 2000;
/// For each target.
const TIME: Duration = Duration::from_millis(700);
/// The longest input.
const LONGEST: usize = 16 << 10;

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    paths.into_iter().map(|p| (p.clone(), fs::read(p).expect("a file"))).collect()
}

/// Runs one input; what fails is left in the target directory, to become a part of the corpus.
fn run(name: &str, target: Target, what: &str, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join(format!("{:016x}", rng_of(input).u64(..)));
        fs::write(&path, input).expect("a file");
        panic!("{name} fails on {what}: the input is kept as {}", path.display());
    }
}

fn rng_of(input: &[u8]) -> Rng {
    let mix = |sum: u64, b: &u8| (sum ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3);
    Rng::with_seed(input.iter().fold(0xcbf2_9ce4_8422_2325, mix))
}

#[test]
fn every_input_of_the_corpora_passes() {
    for (name, target) in TARGETS {
        let all = corpus(name);
        assert!(all.len() >= 2, "{name} has seeds");
        for (path, input) in all {
            assert!(input.len() <= LONGEST, "{}: keep it small", path.display());
            run(name, *target, &path.display().to_string(), &input);
        }
    }
}

#[test]
fn mutations_of_the_corpora_pass() {
    for (name, target) in TARGETS {
        let all: Vec<Vec<u8>> = corpus(name).into_iter().map(|(_, input)| input).collect();
        let mut rng = Rng::with_seed(3);
        let begun = Instant::now();
        for n in 0..MUTATIONS {
            if begun.elapsed() > TIME {
                break;
            }
            let input = mutate(&all, &mut rng);
            run(name, *target, &format!("mutation {n}"), &input);
        }
    }
}

#[test]
fn short_and_empty_inputs_pass() {
    for (name, target) in TARGETS {
        for input in [&[][..], &[0], &[1], &[0xff; 2], &[0; 3], &[0xff; 40]] {
            run(name, *target, "a short input", input);
        }
    }
}

#[test]
fn each_corpus_belongs_to_a_target_and_each_target_has_its_shim() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = |folder: &str| {
        let entries = fs::read_dir(root.join(folder)).expect("a folder");
        let name = |e: fs::DirEntry| e.path().file_stem().unwrap().to_string_lossy().into_owned();
        let mut all: Vec<String> = entries.map(|e| name(e.expect("an entry"))).collect();
        all.sort();
        all
    };
    let targets: Vec<String> = TARGETS.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names("corpus"), targets);
    assert_eq!(names("cargo-fuzz/fuzz_targets"), targets);
    let manifest = fs::read_to_string(root.join("cargo-fuzz/Cargo.toml")).expect("a manifest");
    for name in targets {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is no binary");
    }
}

/// One input from the corpus after a few random changes.
fn mutate(all: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut input = all[rng.usize(..all.len())].clone();
    for _ in 0..rng.usize(1..6) {
        let at = rng.usize(..=input.len());
        match rng.u8(..8) {
            0 if at < input.len() => input[at] = rng.u8(..),
            1 if at < input.len() => input[at] ^= 1 << rng.u8(..8),
            2 => input.insert(at, rng.u8(..)),
            3 if at < input.len() => {
                let end = rng.usize(at..=input.len().min(at + 32));
                input.drain(at..end);
            }
            4 => {
                const INTERESTING: [i32; 8] = [0, -1, 1, i32::MAX, i32::MIN, 16, 1 << 20, -2];
                let value = INTERESTING[rng.usize(..8)].to_be_bytes();
                for (byte, value) in input.iter_mut().skip(at).zip(value) {
                    *byte = value;
                }
            }
            5 => {
                // A part of another one.
                let other = &all[rng.usize(..all.len())];
                let from = rng.usize(..=other.len());
                let part = other[from..rng.usize(from..=other.len())].iter().copied();
                input.splice(at..at, part);
            }
            6 => input.truncate(at),
            _ => {
                let part = input[at..input.len().min(at + 64)].to_vec();
                input.splice(at..at, part);
            }
        }
    }
    input.truncate(LONGEST);
    input
}
