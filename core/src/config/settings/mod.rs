//! The settings of a server in groups. A group declares its keys, reads them, and checks what has
//! to hold between them; a new key is a line in `KEYS`, a field, and a line in `read` of one group.

mod digest_algorithm;
mod limits;
mod network;
mod quorum;
mod security;
mod sessions;
mod storage;
mod throttle;
mod tree;

pub use digest_algorithm::DigestAlgorithm;
pub use limits::LimitsConfig;
pub use network::NetworkConfig;
pub use quorum::QuorumConfig;
pub use security::SecurityConfig;
pub use sessions::SessionConfig;
pub use storage::StorageConfig;
pub use throttle::{ConnectionThrottle, Weights};
pub use tree::TreeConfig;

use super::keys::Key;

/// All keys that this server reads, by group.
pub(super) const KEYS: [&[Key]; 8] = [
    limits::KEYS,
    network::KEYS,
    quorum::KEYS,
    security::KEYS,
    sessions::KEYS,
    storage::KEYS,
    throttle::KEYS,
    tree::KEYS,
];
