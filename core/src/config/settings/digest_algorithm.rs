//! The hash functions of the scheme `digest` (`DigestAuthenticationProvider.digestAlg`).

/// A hash function, by a name of Java's `MessageDigest`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub enum DigestAlgorithm {
    #[default]
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    Sha3_224,
    Sha3_256,
    Sha3_384,
    Sha3_512,
}

impl DigestAlgorithm {
    /// The names, for messages.
    pub(super) const NAMES: &str =
        "SHA1, SHA-224, SHA-256, SHA-384, SHA-512, SHA3-224, SHA3-256, SHA3-384 or SHA3-512";

    /// The algorithm of a name in any case, as Java accepts it: only SHA-3 needs its dash.
    pub(super) fn from_name(name: &str) -> Option<DigestAlgorithm> {
        Some(match name.to_ascii_uppercase().as_str() {
            "SHA" | "SHA1" | "SHA-1" => DigestAlgorithm::Sha1,
            "SHA224" | "SHA-224" => DigestAlgorithm::Sha224,
            "SHA256" | "SHA-256" => DigestAlgorithm::Sha256,
            "SHA384" | "SHA-384" => DigestAlgorithm::Sha384,
            "SHA512" | "SHA-512" => DigestAlgorithm::Sha512,
            "SHA3-224" => DigestAlgorithm::Sha3_224,
            "SHA3-256" => DigestAlgorithm::Sha3_256,
            "SHA3-384" => DigestAlgorithm::Sha3_384,
            "SHA3-512" => DigestAlgorithm::Sha3_512,
            _ => return None,
        })
    }
}
