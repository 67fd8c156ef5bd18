//! Keyed hashes of the names and paths that clients choose. A client does not know the key, and
//! cannot choose names that collide. No output depends on the order of hashes.

use ahash::RandomState;

/// The key of a hash function.
#[derive(Clone, Debug)]
pub(crate) struct HashKey(RandomState);

impl HashKey {
    /// Derives a key from a seed.
    pub(crate) fn new(seed: u64) -> HashKey {
        let mut rng = fastrand::Rng::with_seed(seed);
        let [a, b, c, d] = core::array::from_fn(|_| rng.u64(..));
        HashKey(RandomState::with_seeds(a, b, c, d))
    }

    #[inline]
    pub(crate) fn of(&self, text: &[u8]) -> u64 {
        self.0.hash_one(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_depend_on_the_seed() {
        let (one, same, other) = (HashKey::new(1), HashKey::new(1), HashKey::new(2));
        for text in ["", "a", "lock-0000000001", "a name that is longer than two words"] {
            let text = text.as_bytes();
            assert_eq!(one.of(text), same.of(text));
            assert_ne!(one.of(text), other.of(text));
        }
    }
}
