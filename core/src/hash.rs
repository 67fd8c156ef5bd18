//! Hashes of what clients choose, names and paths, with a key that they do not know: nobody can choose
//! many that meet in one place of a table. No order that a hash makes can be seen from outside.

use ahash::RandomState;

/// A key.
#[derive(Clone, Debug)]
pub struct HashKey(RandomState);

impl HashKey {
    /// The key that this seed makes.
    pub fn new(seed: u64) -> HashKey {
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
    fn another_seed_makes_another_hash_of_everything() {
        let (one, same, other) = (HashKey::new(1), HashKey::new(1), HashKey::new(2));
        for text in ["", "a", "lock-0000000001", "a name that is longer than two words"] {
            let text = text.as_bytes();
            assert_eq!(one.of(text), same.of(text));
            assert_ne!(one.of(text), other.of(text));
        }
    }
}
