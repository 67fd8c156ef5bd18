//! The journal of a process: every event that entered the core, and what it answered.
//!
//! A journal is a row of segments, `FILE.000001`, `FILE.000002`, ... Each begins with [`MAGIC`],
//! the format's version and a head that says all that [`Node::new`](crate::node::Node::new) was
//! told, so that it can be read alone. Batches follow, each with its length and a CRC-32; a batch
//! holds [`Item`]s. Times are differences, numbers take as many bytes as they need.
//!
//! A process that is killed leaves a last batch that is cut: that is no damage. Where a segment
//! is missing, the events can still be read, and no longer be stepped through.

mod actions;
mod events;
mod numbers;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::config::{Config, ConfigError, Sources, Warning};
use crate::event::Event;
use crate::node::Node;
use crate::store::{ImageError, Store};
use crate::types::Now;
use crate::wire::jute::Malformed;

pub use actions::ActionsDigest;
pub use reader::{Placed, SegmentReader};
pub use writer::{Batch, Encoder, segment_head};

/// The first bytes of a segment.
pub const MAGIC: &[u8; 18] = b"zabkeeper journal\n";
/// The format that is written, and the only one that is read.
pub const VERSION: u32 = 3;

/// The texts that a [`Config`] was parsed from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConfigSource {
    /// The name of `zoo.cfg`, for messages.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Properties that the JVM was given.
    pub flags: Vec<(String, String)>,
    /// The text of `dataDir/myid`, if the file was there.
    pub my_id: Option<String>,
    /// Name and text of the `dynamicConfigFile`, if there is one.
    pub dynamic: Option<(String, String)>,
    /// Name and text of `zoo.cfg.dynamic.next`, if there is one.
    pub next: Option<(String, String)>,
}

impl ConfigSource {
    /// The configuration, and what may not be meant so.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn parse(&self) -> Result<(Config, Vec<Warning>), ConfigError> {
        let [dynamic, next] = [&self.dynamic, &self.next]
            .map(|file| file.as_ref().map(|(name, text)| (name.as_str(), text.as_str())));
        Config::read(&Sources {
            name: &self.name,
            text: &self.text,
            flags: &self.flags,
            my_id: self.my_id.as_deref(),
            dynamic,
            next,
        })
    }
}

/// The inputs from which a node was created. With the seed, they also identify one run of a
/// process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Start {
    /// The version of the program.
    pub version: String,
    /// Its configuration, as texts.
    pub source: ConfigSource,
    /// The node's seed.
    pub seed: u64,
    /// When the node was made.
    pub now: Now,
}

impl Start {
    /// A start of this version of the program.
    pub fn new(source: ConfigSource, seed: u64, now: Now) -> Start {
        Start { version: String::from(env!("CARGO_PKG_VERSION")), source, seed, now }
    }

    /// The node that was made.
    ///
    /// # Errors
    /// This version does not take the configuration.
    pub fn node(&self) -> Result<Node, ConfigError> {
        Ok(Node::new(self.source.parse()?.0, self.seed, self.now))
    }
}

/// One entry of a journal.
#[derive(Debug)]
pub enum Item {
    /// An event is given to the node.
    Event(Now, Event<Store>),
    /// The actions of the event before.
    Actions(ActionsDigest),
    /// Nothing more was recorded, and why.
    End(String),
}

/// The bytes are no journal, or a damaged one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    /// It does not begin as a segment does.
    #[error("this is no journal of zabkeeper")]
    NotAJournal,
    /// Another format.
    #[error("the journal's format is {found}; this program reads {VERSION}")]
    Version {
        /// The format of the file.
        found: u32,
    },
    /// The head ends where the file ends: the process was killed before it was written.
    #[error("the segment ends before its head does")]
    Headless,
    /// A batch's checksum is wrong, or something in it cannot be read.
    #[error("damaged at byte {offset}: {what}")]
    Damaged {
        /// Where in the segment.
        offset: u64,
        /// The error at that place.
        what: Damage,
    },
    /// This version does not take the configuration.
    #[error("its configuration is not accepted: {0}")]
    Config(#[from] ConfigError),
    /// This version reads the configuration as another one.
    #[error(
        "version {version} read the configuration in the journal differently; replay it with that \
         version"
    )]
    OtherConfig {
        /// The version that wrote it.
        version: String,
    },
}

/// An error in the bytes of a journal.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Damage {
    /// The checksum of a batch.
    #[error("the checksum of a batch is wrong")]
    Checksum,
    /// A field.
    #[error("{0}")]
    Field(#[from] Malformed),
    /// A tag that stands for nothing.
    #[error("{0} is no kind of entry")]
    Tag(u8),
    /// The state that was recovered.
    #[error("the recovered state: {0}")]
    Image(#[from] ImageError),
}

/// The name of a segment: the journal's, a dot, and the number in six digits or more.
pub fn segment_name(journal: &str, number: u64) -> String {
    format!("{journal}.{number:06}")
}

/// The number of a segment of this journal; `None` for the name of another file.
pub fn segment_number(journal: &str, name: &str) -> Option<u64> {
    let digits = name.strip_prefix(journal)?.strip_prefix('.')?;
    let is_number = digits.len() >= 6 && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}
