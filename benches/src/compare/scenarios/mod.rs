//! How each kind of row comes about.

pub(super) mod core;
pub(super) mod large;
pub(super) mod loads;
pub(super) mod small;

use std::collections::BTreeMap;

use super::rows::Group;
use crate::ensemble::{Ensemble, Site};
use crate::load::Failed;
use crate::machine;
use crate::report::Metric;

/// What servers write at most while they are measured, bytes.
const LOGS: u64 = 2 << 30;

/// What was seen.
pub(super) type Values = BTreeMap<Metric, f64>;

/// What the largest of the servers takes now, MiB.
fn rss_mib(ensemble: &Ensemble) -> f64 {
    let most = ensemble.usage().iter().map(|usage| usage.rss_kib).max().unwrap_or(0);
    most as f64 / 1024.0
}

/// Whether the disk and the memory are large enough.
///
/// # Errors
/// What is missing.
pub(super) fn has_room(site: &Site, group: Group) -> Result<(), Failed> {
    let (disk, memory) = match group {
        Group::Core => (0, 0),
        Group::Loads | Group::Small | Group::Servers(_) => (LOGS, 0),
        Group::Large => (LOGS, large::MEMORY),
        Group::Tree(znodes) => {
            let (disk, memory) = loads::tree_bytes(znodes);
            (disk + LOGS, memory)
        }
    };
    machine::has_room(&site.dir, disk, memory)
}
