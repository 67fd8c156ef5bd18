//! How each kind of row comes about.

pub(super) mod core;
pub(super) mod large;
pub(super) mod loads;
pub(super) mod small;

use std::collections::BTreeMap;

use crate::ensemble::Ensemble;
use crate::report::Metric;

/// What was seen.
pub(super) type Values = BTreeMap<Metric, f64>;

/// What the largest of the servers takes now, MiB.
fn rss_mib(ensemble: &Ensemble) -> f64 {
    let most = ensemble.usage().iter().map(|usage| usage.rss_kib).max().unwrap_or(0);
    most as f64 / 1024.0
}
