//! A server whose tree differs from the leader's.

use alloc::format;

use tracing::{error, warn};

use super::Node;
use crate::action::Actions;
use crate::mutant::mutant;
use crate::store::Mismatch;
use crate::types::Now;
use crate::zab::Role;

/// If a tree differs again this soon after it was replaced by the leader's, ms, the cause is one
/// that no snapshot removes.
const AGAIN_MS: u64 = 600_000;

impl Node {
    /// How often the digest of this server's tree was not its leader's.
    pub fn digest_mismatches(&self) -> u64 {
        self.metrics.digest_mismatches_count.get()
    }

    /// The digest that came with a transaction is not the one of this tree.
    ///
    /// It counts only in what is applied while this server serves ([`Store::judge`]). Before that a
    /// tree may hold more than its zxid says: a leader goes on while it walks its tree for a
    /// snapshot, and tells nobody how far it came. All that it had applied by then is committed
    /// before UPTODATE.
    ///
    /// [`Store::judge`]: crate::store::Store::judge
    pub(super) fn diverged(&mut self, now: Now, mismatch: Mismatch, out: &mut Actions) {
        if !self.client_port.is_serving() {
            return;
        }
        self.metrics.digest_mismatches_count.add(1);
        let Mismatch { zxid, here, said } = mismatch;
        let digests = format!("{here:x} here, {said:x} there");
        let is_again = self.diverged_at.is_some_and(|at| now.mono.ms_since(at) < AGAIN_MS);
        let mut is_dropped = !is_again;
        mutant!(DivergedFollowerStays => is_dropped = false);
        match self.ensemble.role() {
            Role::Following { active: true, .. } if is_dropped => {
                self.diverged_at = Some(now.mono);
                error!(%zxid, %digests, "the digest of this server's tree is not the leader's: its \
                    state is dropped, and the leader is asked for all of its own");
                self.stop_serving(out);
                self.ensemble.diverged(now.mono, out);
            }
            Role::Following { .. } | Role::Looking => {
                error!(%zxid, %digests, "the digest of this server's tree is not the leader's");
            }
            Role::Leading { .. } | Role::Standalone | Role::Recovering => {
                warn!(%zxid, %digests, "the digest of this server's tree is not the one that was \
                    logged with a transaction");
            }
        }
    }
}
