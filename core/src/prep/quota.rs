//! Whether a write stays within its quota (`ZooKeeperServer.checkQuota`), and what is told of those
//! that do not.
//!
//! Usage is that of the committed tree: what is under way, or stands before in the same multi, is
//! not counted yet.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use tracing::{error, warn};

use super::outstanding::Outstanding;
use crate::store::{StatsTrack, Store};
use crate::wire::ErrorCode;

/// The same excess is told of once in so many ms.
const TELL_EVERY_MS: i64 = 100;

/// A limit that a write exceeds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Excess {
    /// As ZooKeeper words it.
    message: String,
    /// The first name of the path of a write that is refused.
    refused: Option<String>,
}

/// Judges a write by what it adds to the number of nodes and to the bytes of their data.
///
/// # Errors
/// QUOTAEXCEEDED beyond a hard limit; MARSHALLINGERROR where what the quota says is not readable.
pub(super) fn check(
    store: &Store,
    tree: &mut Outstanding,
    path: &str,
    count: i64,
    bytes: i64,
) -> Result<(), ErrorCode> {
    let Some(quota) = store.quota(path) else { return Ok(()) };
    let limits = StatsTrack::parse(quota.limits).ok_or(ErrorCode::MarshallingError)?;
    let limit = |hard: i64, soft: i64| (hard.max(soft) > -1).then_some((hard > -1, hard, soft));
    let of_count = limit(limits.count_hard_limit(), limits.count()).filter(|_| count != 0);
    let of_bytes = limit(limits.byte_hard_limit(), limits.bytes()).filter(|_| bytes != 0);
    if of_count.is_none() && of_bytes.is_none() {
        return Ok(());
    }
    let Some(stats) = quota.stats else {
        error!(quota = quota.path, "nothing is counted for this quota, so it is not enforced");
        return Ok(());
    };
    let usage = StatsTrack::parse(stats).ok_or(ErrorCode::MarshallingError)?;
    let limits = [
        ("count", "CountLimit", of_count, usage.count().wrapping_add(count)),
        ("bytes", "ByteLimit", of_bytes, usage.bytes().wrapping_add(bytes)),
    ];
    for (what, name, limit, new) in limits {
        let Some((is_hard, hard, soft)) = limit else { continue };
        let limit = if is_hard { hard } else { soft };
        if new <= limit {
            continue;
        }
        let (quota, kind) = (quota.path, if is_hard { "hard" } else { "soft" });
        let message =
            format!("Quota exceeded: {quota} [current {what}={new}, {kind}{name}={limit}]");
        let refused = path.split('/').nth(1).filter(|_| is_hard).map(String::from);
        tree.exceed(Excess { message, refused });
        if is_hard {
            return Err(ErrorCode::QuotaExceeded);
        }
    }
    Ok(())
}

/// Logged and counted excesses of quotas (`RateLogger`).
#[derive(Debug, Default)]
pub(super) struct Excesses {
    /// Refused writes, by the first name of their paths.
    pub(super) refused: BTreeMap<String, u64>,
    last: String,
    told_at_ms: i64,
    /// How often the last one came again without being told of.
    again: u32,
}

impl Excesses {
    pub(super) fn tell(&mut self, all: Vec<Excess>, wall_ms: i64) {
        for Excess { message, refused } in all {
            if let Some(namespace) = refused {
                *self.refused.entry(namespace).or_default() += 1;
            }
            if message != self.last {
                self.flush();
                warn!("{message}");
                self.last = message;
            } else {
                self.again += 1;
                if (0..TELL_EVERY_MS).contains(&wall_ms.saturating_sub(self.told_at_ms)) {
                    continue;
                }
                self.flush();
            }
            self.told_at_ms = wall_ms;
        }
    }

    fn flush(&mut self) {
        if self.again > 0 {
            warn!("{} ({} times)", self.last, self.again);
        }
        self.again = 0;
    }
}
