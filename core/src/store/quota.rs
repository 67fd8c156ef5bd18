//! Quotas: usage is counted in nodes below `/zookeeper/quota`, beside the limits that clients
//! put there (`Quotas`, `StatsTrack`, `DataTree.updateQuotaStat`).
//!
//! A quota is there when its limits node is. Of several quotas on the way to a node the deepest
//! is charged. No transaction and no watch tells of the counting; a server that loads a snapshot
//! counts anew.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use tracing::warn;

use super::Store;
use super::tree::NodeId;
use crate::mutant::mutant;

const QUOTA_PATH: &str = "/zookeeper/quota";
pub(super) const LIMITS: &str = "zookeeper_limits";
const STATS: &str = "zookeeper_stats";

/// The content of a limits or stats node (`StatsTrack`): numbers by name, -1 where there is none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StatsTrack(BTreeMap<String, i64>);

impl StatsTrack {
    const COUNT: &str = "count";
    const BYTES: &str = "bytes";

    /// Reads `count=5,bytes=-1=;byteHardLimit=100;countHardLimit=7`; none for what cannot be
    /// read.
    pub fn parse(data: Option<&[u8]>) -> Option<StatsTrack> {
        let text = String::from_utf8_lossy(data?);
        let mut values = BTreeMap::new();
        let pairs = text.trim_end_matches([',', ';']);
        let mut separated = false;
        for pair in pairs.split([',', ';']) {
            // Separators in a row are one, and none stands at the beginning.
            if pair.is_empty() && (separated || pairs.is_empty()) {
                continue;
            }
            separated = true;
            let (key, value) = pair.trim_end_matches('=').split_once('=')?;
            let value = value.split_once('=').map_or(value, |(value, _)| value);
            let value = if value.is_empty() { -1 } else { value.parse().ok()? };
            values.insert(String::from(key), value);
        }
        Some(StatsTrack(values))
    }

    /// Nodes: how many there are, or may be.
    pub fn count(&self) -> i64 {
        self.get(Self::COUNT)
    }
    /// Bytes of data: how many there are, or may be.
    pub fn bytes(&self) -> i64 {
        self.get(Self::BYTES)
    }
    /// How many nodes there may be at all, and that comes first.
    pub fn count_hard_limit(&self) -> i64 {
        self.get("countHardLimit")
    }
    /// The same for bytes.
    pub fn byte_hard_limit(&self) -> i64 {
        self.get("byteHardLimit")
    }

    fn usage(count: i64, bytes: i64) -> StatsTrack {
        let [count, bytes] = [(Self::COUNT, count), (Self::BYTES, bytes)]
            .map(|(key, value)| (String::from(key), value));
        StatsTrack(BTreeMap::from([count, bytes]))
    }

    fn get(&self, key: &str) -> i64 {
        self.0.get(key).copied().unwrap_or(-1)
    }

    fn add(&mut self, key: &str, difference: i64) {
        let sum = self.get(key).wrapping_add(difference);
        self.0.insert(String::from(key), sum);
    }
}

/// Count and bytes lead, and an equals sign too many hides what follows from old readers.
impl fmt::Display for StatsTrack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "count={},bytes={}", self.count(), self.bytes())?;
        let others = || self.0.iter().filter(|(key, _)| *key != Self::COUNT && *key != Self::BYTES);
        if others().next().is_some() {
            f.write_str("=")?;
        }
        others().try_for_each(|(key, value)| write!(f, ";{key}={value}"))
    }
}

/// The quota that a node counts against.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quota<'s, 'p> {
    /// The node that it is for.
    pub path: &'p str,
    /// The data of its limits node.
    pub limits: Option<&'s [u8]>,
    /// The data of its stats node, if that is there.
    pub stats: Option<Option<&'s [u8]>>,
}

/// The quotas of all nodes that have the same first name, added up (`QuotaMetricsUtils`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct QuotaFigures {
    /// Nodes that may be there.
    pub count_limit: Option<i64>,
    /// Bytes that may be there.
    pub bytes_limit: Option<i64>,
    /// Nodes that are there.
    pub count_usage: Option<i64>,
    /// Bytes that are there.
    pub bytes_usage: Option<i64>,
}

impl Store {
    /// The quota that a node of this path counts against, be it there or not.
    pub fn quota<'p>(&self, path: &'p str) -> Option<Quota<'_, 'p>> {
        let (path, at) = self.quota_at(path)?;
        let data = |name| Some(self.tree.node(self.tree.child(at, name)?).data());
        Some(Quota { path, limits: data(LIMITS).flatten(), stats: data(STATS) })
    }

    /// The figures of all quotas, by the first name of the nodes that they are for.
    pub fn quota_figures(&self) -> BTreeMap<String, QuotaFigures> {
        let mut all: BTreeMap<String, QuotaFigures> = BTreeMap::new();
        self.for_each_quota_node(|store, path, at| {
            let Some(namespace) = path.split('/').nth(1) else { return };
            let track = |name| {
                let id = store.tree.child(at, name)?;
                let track = StatsTrack::parse(store.tree.node(id).data());
                // A leaf only: nodes for which there are quotas may have any name.
                track.filter(|_| store.tree.child_count(store.tree.node(id)) == 0)
            };
            let (limits, stats) = (track(LIMITS), track(STATS));
            if limits.is_some() || stats.is_some() {
                let figures = all.entry(String::from(namespace)).or_default();
                figures.add(limits, stats);
            }
        });
        all
    }

    /// The path of the deepest node on the way that has a quota, and that quota's node.
    fn quota_at<'p>(&self, path: &'p str) -> Option<(&'p str, NodeId)> {
        if self.tree.limits == 0 {
            return None;
        }
        let mut at = self.tree.lookup(QUOTA_PATH)?;
        let mut deepest = None;
        let mut end = 0;
        for name in path.strip_prefix('/')?.split('/') {
            if self.tree.child_count(self.tree.node(at)) == 0 {
                break;
            }
            let Some(below) = self.tree.child(at, name) else { break };
            end += 1 + name.len();
            at = below;
            if self.tree.child(at, LIMITS).is_some() {
                deepest = path.get(..end).map(|path| (path, at));
            }
        }
        deepest
    }

    /// A node was made, or is gone, or has other data: its quota's usage changes.
    pub(super) fn charge(&mut self, path: &str, count: i64, bytes: i64) {
        let Some((quota, at)) = self.quota_at(path) else { return };
        mutant!(QuotaKeepsTheDeleted => if count < 0 { return });
        let stats = self.tree.child(at, STATS);
        let usage = stats.and_then(|id| StatsTrack::parse(self.tree.node(id).data()));
        let (Some(stats), Some(mut usage)) = (stats, usage) else {
            warn!(%path, %quota, "nothing is counted: the quota's {STATS} is missing or unreadable");
            return;
        };
        usage.add(StatsTrack::COUNT, count);
        usage.add(StatsTrack::BYTES, bytes);
        self.tree.set_data(stats, Some(format!("{usage}").as_bytes()));
    }

    /// A stats node was made: what it says comes from counting.
    pub(super) fn begin_counting(&mut self, above: &str, name: &str) {
        if name != STATS {
            return;
        }
        if let Some(path) = above.strip_prefix(QUOTA_PATH)
            && (path.is_empty() || path.starts_with('/'))
        {
            self.count_anew(path);
        }
    }

    /// All usage comes from counting: a snapshot says what it was at different moments.
    pub(super) fn count_all_anew(&mut self) {
        let mut paths = Vec::new();
        self.for_each_quota_node(|store, path, at| {
            if !path.is_empty() && store.tree.child(at, LIMITS).is_some() {
                paths.push(String::from(path));
            }
        });
        for path in paths {
            self.count_anew(&path);
        }
    }

    fn count_anew(&mut self, path: &str) {
        let stats = self.tree.lookup(&format!("{QUOTA_PATH}{path}/{STATS}"));
        let Some(stats) = stats else { return };
        let (mut count, mut bytes) = (0, 0);
        let mut stack: Vec<NodeId> = self.tree.lookup(path).into_iter().collect();
        while let Some(id) = stack.pop() {
            count += 1;
            let node = self.tree.node(id);
            bytes += node.data_len() as i64;
            stack.extend(self.tree.children(node));
        }
        let usage = format!("{}", StatsTrack::usage(count, bytes));
        self.tree.set_data(stats, Some(usage.as_bytes()));
    }

    /// Every node below `/zookeeper/quota`, by the path for which it would be the quota.
    fn for_each_quota_node(&self, mut visit: impl FnMut(&Store, &str, NodeId)) {
        let Some(top) = self.tree.lookup(QUOTA_PATH) else { return };
        let mut stack = Vec::from([(String::new(), top)]);
        while let Some((path, at)) = stack.pop() {
            visit(self, &path, at);
            let below = self.tree.named_children(self.tree.node(at));
            stack.extend(below.map(|(id, name)| (format!("{path}/{name}"), id)));
        }
    }
}

impl QuotaFigures {
    fn add(&mut self, limits: Option<StatsTrack>, stats: Option<StatsTrack>) {
        let add = |to: &mut Option<i64>, value: i64| {
            *to = Some(to.unwrap_or(0).wrapping_add(value));
        };
        if let Some(limits) = limits {
            let either = |hard: i64, soft: i64| if hard > -1 { hard } else { soft };
            add(&mut self.count_limit, either(limits.count_hard_limit(), limits.count()));
            add(&mut self.bytes_limit, either(limits.byte_hard_limit(), limits.bytes()));
        }
        if let Some(stats) = stats {
            add(&mut self.count_usage, stats.count());
            add(&mut self.bytes_usage, stats.bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn track(text: &str) -> Option<StatsTrack> {
        StatsTrack::parse(Some(text.as_bytes()))
    }

    #[test]
    fn limits_are_written_so_that_old_readers_see_count_and_bytes() {
        for text in [
            "count=-1,bytes=-1",
            "count=5,bytes=-1",
            "count=5,bytes=7=;byteHardLimit=9;countHardLimit=-1",
            "count=1,bytes=2=;=4;zebra=3",
        ] {
            assert_eq!(track(text).unwrap().to_string(), text);
        }
        assert_eq!(track("").unwrap().to_string(), "count=-1,bytes=-1");
    }

    #[test]
    fn quota_nodes_of_real_clients_are_read() {
        let t = track("byteHardLimit=4;count=2,,;;bytes=3").unwrap();
        assert_eq!(
            (t.count(), t.bytes(), t.count_hard_limit(), t.byte_hard_limit()),
            (2, 3, -1, 4)
        );
        assert_eq!(track("count==5").unwrap().count(), -1);
        assert_eq!(track("count=+5=6,").unwrap().count(), 5);
        assert_eq!(track(",;").unwrap().to_string(), "count=-1,bytes=-1");
    }

    #[test]
    fn unreadable_quota_value_is_no_number() {
        for text in [",count=1", "count", "count=", "=", "count= 1", "count=x", "count=1,bytes"] {
            assert_eq!(track(text), None, "{text:?}");
        }
        assert_eq!(StatsTrack::parse(None), None);
        assert_eq!(track("count=9223372036854775808"), None);
    }
}
