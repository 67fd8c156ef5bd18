//! Replay of recorded runs: the core is given the events of a journal again, and must answer
//! with the same actions.
//!
//! A run is one process: from the node's start until its journal ends. A journal holds several,
//! one after the other. A run whose first segments are gone can be read, and cannot be replayed:
//! nothing else leads to the state that its first event met.

mod ear;
mod files;
mod journal;
mod run;
mod story;
mod verdict;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use zabkeeper_core::journal::{RecordError, SegmentReader};

use files::Segment;
pub use journal::Journal;
use run::Replay;
pub use story::{action_text, event_text};
pub use verdict::{Divergence, Ending, Run, Verdict};

/// What came of all runs of a journal.
#[derive(Debug)]
pub struct Outcome {
    /// Oldest first.
    pub runs: Vec<Run>,
}

/// Why a journal cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    /// There is no segment of that name.
    #[error(
        "{0}: no journal (its segments are {0}.000001 and so on, as `zabkeeper server --record` \
         writes them)"
    )]
    NoJournal(PathBuf),
    /// A file cannot be read.
    #[error("{path}: {error}")]
    File { path: PathBuf, error: io::Error },
    /// A segment cannot be read.
    #[error("{path}: {error}")]
    Segment {
        path: PathBuf,
        /// Why, and where in it.
        error: RecordError,
    },
    /// The story cannot be written.
    #[error("the story cannot be written: {0}")]
    Story(io::Error),
}

/// Replays all runs of a journal. `story` gets lines for each event and each action, with the
/// messages that the bytes hold.
///
/// # Errors
/// There is no such journal, or a file cannot be read. What is wrong with a single run is its
/// [`Verdict`].
pub fn replay(journal: &Path, mut story: Option<&mut dyn Write>) -> Result<Outcome, Error> {
    let mut runs = Vec::new();
    let mut current: Option<Replay> = None;
    for Segment { path, .. } in files::segments(journal)? {
        let bytes =
            std::fs::read(&path).map_err(|error| Error::File { path: path.clone(), error })?;
        let reader = match SegmentReader::new(bytes.into()) {
            Ok(reader) => reader,
            // Killed in the moment in which it was made: what is lacking otherwise is noticed by
            // the numbers of the events.
            Err(RecordError::Headless) => continue,
            Err(error) => return Err(Error::Segment { path, error }),
        };
        let mut replay = match current.take() {
            Some(replay) if replay.is_continued_by(&reader) => replay,
            before => {
                runs.extend(before.map(Replay::finish));
                Replay::begin(&path, &reader)?
            }
        };
        replay.segment(&path, reader, &mut story).map_err(Error::Story)?;
        current = Some(replay);
    }
    runs.extend(current.map(Replay::finish));
    Ok(Outcome { runs })
}

/// `sim replay --record`: replays, and prints a paragraph for each run. Gives the exit code: 0 if
/// every run that is there from its start did the same again to its end, 1 if one did something
/// else, 2 if none could be replayed to its end.
///
/// # Errors
/// As [`replay`].
pub fn command(journal: &Path, story: bool, out: &mut dyn Write) -> Result<u8, Error> {
    let outcome = if story { replay(journal, Some(&mut *out)) } else { replay(journal, None) }?;
    let (mut same, mut other, mut broken) = (0, 0, 0);
    for run in &outcome.runs {
        writeln!(out, "{run}").map_err(Error::Story)?;
        match run.verdict {
            Verdict::Identical => same += 1,
            Verdict::Diverged(_) | Verdict::Panicked { .. } => other += 1,
            Verdict::Broken { .. } => broken += 1,
            Verdict::NotFromStart => {}
        }
    }
    out.flush().map_err(Error::Story)?;
    Ok(match (same, other, broken) {
        (_, 1.., _) => 1,
        (1.., 0, 0) => 0,
        _ => 2,
    })
}
