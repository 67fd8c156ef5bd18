//! Sums over subtrees (`SnapshotRecursiveSummary`).

use alloc::collections::BTreeMap;
use alloc::string::String;
use core::fmt::{self, Display};

use serde::Serialize;

use super::text::{self, Count, Plain};
use super::{Finding, FindingSink, InspectError, Options, emit};

/// Sums are kept for so many subtrees; what comes after is in their parents' sums alone.
const MOST: usize = 100_000;

/// A znode with all that is below it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Subtree {
    /// Its top.
    pub path: String,
    /// Znodes, with the top.
    pub znodes: u64,
    /// Bytes of data.
    pub data_bytes: u64,
    #[serde(skip)]
    indent: usize,
}

/// Sums while znodes come by.
pub(super) struct Sums<'a> {
    options: &'a Options,
    sums: BTreeMap<String, (u64, u64)>,
    left_out: bool,
}

impl<'a> Sums<'a> {
    pub(super) fn new(options: &'a Options) -> Sums<'a> {
        Sums { options, sums: BTreeMap::new(), left_out: false }
    }

    /// Whether this znode (the root is the empty path) is in the part that is asked for.
    pub(super) fn is_inside(options: &Options, path: &str) -> bool {
        let top = options.subtree.trim_end_matches('/');
        path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    pub(super) fn add(&mut self, path: &str, data_bytes: usize) {
        if !self.options.sums || !Sums::is_inside(self.options, path) {
            return;
        }
        let top = self.options.subtree.trim_end_matches('/').len();
        let rest = path.get(top..).unwrap_or_default();
        // Itself and what is above it, as deep as asked for.
        let ends = rest.match_indices('/').map(|(i, _)| i).chain([rest.len()]);
        for end in ends.take(self.options.depth.saturating_add(1)) {
            // A path's first slash is the end of the empty one, the top.
            let prefix = path.get(..top + end).unwrap_or_default();
            if let Some(sum) = self.sums.get_mut(prefix) {
                (sum.0, sum.1) = (sum.0 + 1, sum.1 + data_bytes as u64);
            } else if self.sums.len() < MOST {
                self.sums.insert(String::from(prefix), (1, data_bytes as u64));
            } else {
                self.left_out = true;
            }
        }
    }

    pub(super) fn emit(self, sink: &mut FindingSink<'_>) -> Result<(), InspectError> {
        let top = self.options.subtree.trim_end_matches('/');
        for (path, (znodes, data_bytes)) in self.sums {
            let indent = path.get(top.len()..).unwrap_or_default().matches('/').count();
            let path = text::path(&path);
            emit(sink, Finding::Subtree(Subtree { path, znodes, data_bytes, indent }))?;
        }
        Ok(())
    }
}

impl Display for Subtree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let indent = self.indent * 2;
        write!(
            f,
            "  {:indent$}{} {}, {} of data",
            "",
            Plain(&self.path),
            Count(self.znodes, "znode"),
            Count(self.data_bytes, "byte")
        )
    }
}
