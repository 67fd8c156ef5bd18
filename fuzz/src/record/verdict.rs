//! What came of a run.

use std::fmt;
use std::path::PathBuf;

use zabkeeper_core::config::ConfigError;
use zabkeeper_core::journal::{ActionsDigest, RecordError, Start};

/// One run of a process, as far as its journal tells.
#[derive(Debug)]
pub struct Run {
    /// What the node was made from.
    pub start: Start,
    /// Its first segment that is there.
    pub first_segment: PathBuf,
    /// Events that were read.
    pub events: u64,
    /// Actions that were compared.
    pub actions: u64,
    /// From the node's start to its last event, ms.
    pub recorded_ms: u64,
    /// Whether the core did the same again.
    pub verdict: Verdict,
    /// How the journal ends.
    pub ending: Ending,
    /// The state at the end, if all was stepped through.
    pub state: Option<String>,
}

/// Whether the core did the same again.
#[derive(Debug)]
pub enum Verdict {
    /// Every step had the same actions.
    Identical,
    /// A step had others.
    Diverged(Box<Divergence>),
    /// The core panics.
    Panicked {
        /// Given which event.
        event: u64,
        /// What that is.
        what: String,
    },
    /// The first segments are gone: nothing was stepped.
    NotFromStart,
    /// Up to here all was the same; the rest cannot be reached.
    Broken {
        /// The segment.
        segment: PathBuf,
        /// Why not.
        why: Broken,
    },
}

/// Why a run cannot be followed to its end.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// Segments in the middle are gone.
    #[error("events {after} to {before}, both exclusive, are not there")]
    Gap {
        /// The last event that was read.
        after: u64,
        /// The next one that is there.
        before: u64,
    },
    /// An event without an answer is not the last one.
    #[error("the answer to event {event} is not there")]
    NoAnswer { event: u64 },
    /// The bytes are damaged.
    #[error(transparent)]
    Damaged(#[from] RecordError),
    /// The configuration is not accepted.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// The first step that had other actions.
#[derive(Debug)]
pub struct Divergence {
    /// The event's number in its run, from 1.
    pub event: u64,
    /// The event.
    pub what: String,
    /// The segment in which it is.
    pub segment: PathBuf,
    /// Where in the segment the digest of its actions is.
    pub offset: u64,
    /// What was recorded.
    pub recorded: ActionsDigest,
    /// What came out now.
    pub replayed: ActionsDigest,
    /// The actions that came out now.
    pub actions: Vec<String>,
}

/// How a journal ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It says why: the server stopped, or the recording did.
    Said(String),
    /// Between two batches: the process was killed, or is running.
    Open,
    /// In the middle of a batch.
    Torn,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Said(why) => write!(f, "it ends with: {why}"),
            Ending::Open => f.write_str("it ends without a word: the process was killed, or runs"),
            Ending::Torn => f.write_str("its last batch is cut: the process was killed, or runs"),
        }
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Divergence { event, what, segment, offset, recorded, replayed, actions } = self;
        writeln!(f, "event {event} ({what}) has other actions")?;
        writeln!(f, "  recorded: {recorded} ({} at byte {offset})", segment.display())?;
        write!(f, "  replayed: {replayed}")?;
        for action in actions {
            write!(f, "\n    {action}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Identical => f.write_str("identical"),
            Verdict::Diverged(divergence) => write!(f, "DIVERGED: {divergence}"),
            Verdict::Panicked { event, what } => write!(f, "PANICKED at event {event} ({what})"),
            Verdict::NotFromStart => f.write_str(
                "not replayed: its first segments are gone, so that no state is known that its \
                 events could be given to; --story prints them",
            ),
            Verdict::Broken { segment, why } => {
                write!(f, "identical, but only up to {}: {why}", segment.display())
            }
        }
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Run { start, first_segment, events, actions, recorded_ms, .. } = self;
        let seconds = *recorded_ms as f64 / 1000.0;
        write!(
            f,
            "{}: version {}, {events} events in {seconds:.1} s, {actions} actions: {}; {}",
            first_segment.display(),
            start.version,
            self.verdict,
            self.ending
        )?;
        match &self.state {
            Some(state) => write!(f, "\n  {state}"),
            None => Ok(()),
        }
    }
}
