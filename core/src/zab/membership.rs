//! How the members change: which configuration was seen, which one counts, and who leads by it
//! (`QuorumPeer.setLastSeenQuorumVerifier`, `setQuorumVerifier`, `processReconfig`).
//!
//! A configuration is seen when it is proposed, and counts once that is committed: in between,
//! quorums of both decide. On disk it precedes the transaction that carries it, so that nobody
//! who has acknowledged a reconfiguration forgets that quorums of both are needed. Who is started
//! without it in its log has not, and needs none of the next members: they may know too much for it.

use alloc::boxed::Box;
use alloc::sync::Arc;

use bytes::Bytes;
use tracing::info;

use super::{Delivery, Replica};
use crate::action::{Action, Actions, ConfigSave, DiskAction};
use crate::config::EnsembleConfig;
use crate::mutant::Mutant;
use crate::quorum::{AckSet, Membership};
use crate::types::{Epoch, HostPort, ServerId, Zxid};

impl Replica {
    /// The configuration that a payload carries, if it does and they may change.
    pub(super) fn config_in(&self, body: &[u8]) -> Option<EnsembleConfig> {
        self.options.reconfig.and_then(|read| read(body))
    }

    /// What a leader sends with NEWLEADER, if they may change.
    pub(super) fn config_of_leader(&self, data: Option<&Bytes>) -> Option<EnsembleConfig> {
        self.options.reconfig?;
        let text = core::str::from_utf8(data?).ok().filter(|text| text.len() > 1)?;
        EnsembleConfig::parse("NEWLEADER", text).ok()
    }

    /// This configuration was proposed last, whatever was seen before.
    pub(super) fn note_proposed(&mut self, config: EnsembleConfig, out: &mut Actions) {
        let is_saved = config.version == self.members.last_seen().version
            && self.members.proposed_not_logged().is_none();
        if is_saved || config.version < self.members.committed().version {
            return;
        }
        info!(version = %format_args!("{:x}", config.version), "a configuration is proposed");
        self.persist_proposed(config, out);
    }

    fn persist_proposed(&mut self, config: EnsembleConfig, out: &mut Actions) {
        let (ticket, text) = (self.ticket(), config.to_text());
        let save = Box::new(ConfigSave::Next { text });
        out.push(Action::Disk(DiskAction::SaveConfig { ticket, save }));
        self.restore_proposed_config(config);
    }

    /// Sees a configuration that is on disk already.
    pub(super) fn restore_proposed_config(&mut self, config: EnsembleConfig) {
        let current = self.members.committed().clone();
        self.set_members(Membership::new(current, Some(Arc::new(config))));
    }

    /// The log ends before the proposal whose configuration is in the files. It was never
    /// acknowledged by this server, or a leader has had it cut off, so that it does not count. One of
    /// an earlier epoch may have come with NEWLEADER, acknowledged without a proposal of its own.
    pub(super) fn ignore_unlogged(&mut self) {
        let proposed = Zxid(self.members.last_seen().version);
        let is_of_this_epoch =
            proposed.epoch() == self.history.current_epoch && proposed.counter() != 0;
        if is_of_this_epoch
            && proposed > self.history.last_logged
            && let Some(next) = self.members.proposed().cloned()
            && !Mutant::UnloggedChangeCounts.is_on()
        {
            info!(version = %format_args!("{:x}", proposed.0), last_logged = %self.history.last_logged,
                "a configuration that was proposed and is not logged does not count");
            let current = self.members.committed().clone();
            let logged = self.last_logged_config.clone().filter(|_| current.version != 0);
            self.set_members(Membership::new(current, logged).with_proposed_not_logged(Some(next)));
        }
    }

    /// A leader brings its history: what does not count goes from the disk, too, or it would seem to
    /// be logged once later entries are.
    pub(super) fn discard_unlogged(&mut self, out: &mut Actions) {
        // Nothing else may say how this server is reached; NEWLEADER takes the place of that.
        if self.members.proposed_not_logged().is_some()
            && self.members.committed().members.contains_key(&self.me)
        {
            let counts = (**self.members.last_seen()).clone();
            self.persist_proposed(counts, out);
        }
    }

    /// Another configuration follows in the history: the one before it was committed, or the other
    /// would not have been proposed.
    pub(super) fn commit_superseded(&mut self, out: &mut Actions) {
        let logged = self.last_logged_config.as_ref().map(|config| config.version);
        if let Some(next) = self.members.proposed().cloned()
            && logged == Some(next.version)
        {
            self.activate(next, out);
        }
    }

    /// Whether a server in this epoch, whose log ends here, has not logged the configuration that may
    /// come. In an epoch after the proposal's, NEWLEADER may have brought it without a transaction.
    pub(super) fn lacks_proposed_config(&self, epoch: Epoch, last: Zxid) -> bool {
        let is_before = |change: Zxid| epoch <= change.epoch() && last < change;
        last != Zxid::UNTRUSTED
            && self.members.proposed().is_some_and(|next| is_before(Zxid(next.version)))
    }

    /// Whether the configuration that may come cannot have been committed: too few of the current
    /// voters are left who may have logged it, as these have not, and accept it from no old leader
    /// any more. Then nothing after it was committed either without a quorum of the current members.
    /// A later voter who knows more than all of those, and need not be known to them, must not keep
    /// them from going on.
    pub(super) fn cannot_have_committed(&self, lacking_proposed: &AckSet) -> bool {
        let Some(next) = self.members.proposed() else { return false };
        if Mutant::OldMembersGoOnAlone.is_on() {
            return true;
        }
        self.adjacent_versions == Some((self.members.committed().version, next.version))
            && self.members.is_blocked_by(lacking_proposed)
    }

    /// This configuration is committed and counts from here on. False if it, or a newer one, did
    /// so before.
    pub(super) fn activate(&mut self, config: Arc<EnsembleConfig>, out: &mut Actions) -> bool {
        if config.version <= self.members.committed().version {
            return false;
        }
        info!(version = %format_args!("{:x}", config.version), members = %config.members.len(),
            "a configuration is activated");
        let seen = self.members.proposed().into_iter().chain(&self.last_logged_config).cloned();
        let next = seen.filter(|seen| seen.version > config.version).max_by_key(|c| c.version);
        let unlogged =
            self.members.proposed_not_logged().filter(|u| u.version > config.version).cloned();
        let me = config.members.get(&self.me);
        let save = Box::new(ConfigSave::Current {
            version: config.version,
            text: config.to_file(),
            erases_client: me.is_some_and(|me| me.client.is_some()),
            keeps_next: next.is_some() || unlogged.is_some(),
        });
        let ticket = self.ticket();
        out.push(Action::Disk(DiskAction::SaveConfig { ticket, save }));
        self.deliveries.push_back(Delivery::Reconfigured { members: config.clone() });
        self.set_members(Membership::new(config, next).with_proposed_not_logged(unlogged));
        true
    }

    fn set_members(&mut self, members: Membership) {
        self.members = Arc::new(members);
        self.members_are_new = true;
    }
}

/// Whether a server votes in `now` and is reached as it was before: only then does it go on to
/// lead (`Leader.getDesignatedLeader`).
pub(super) fn remains_leader(id: ServerId, before: &EnsembleConfig, now: &EnsembleConfig) -> bool {
    let quorum_addresses = |config: &EnsembleConfig| {
        let member = config.members.get(&id)?;
        let mut all: alloc::vec::Vec<HostPort> =
            member.addresses.iter().map(|address| address.quorum.clone()).collect();
        all.sort_unstable();
        Some(all)
    };
    let is_same = quorum_addresses(before) == quorum_addresses(now);
    before.is_voter(id) && now.is_voter(id) && is_same
}
