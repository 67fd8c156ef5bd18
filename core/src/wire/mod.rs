//! Everything that crosses a socket or a file, as typed records and back.
//!
//! All integers are big endian. Bytes from outside are hostile: every length is checked
//! against what is really there before anything is allocated.

pub mod acl;
pub(crate) mod acl_index;
pub mod client;
pub(crate) mod code;
pub mod entries;
pub mod error;
pub mod frame;
pub mod jute;
pub(crate) mod network;
pub mod op;
mod peer_error;
pub mod quorum;
pub mod txn;
pub mod watch;
pub mod word;

pub use error::ErrorCode;
pub use jute::{Malformed, Reader, Record, Writer};
pub use op::{EventType, OpCode};
pub use peer_error::PeerError;
pub use watch::{AddWatchMode, WatcherType};
pub use word::Word;
