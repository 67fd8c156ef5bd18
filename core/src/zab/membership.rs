//! Reconfiguration: how the members of an ensemble change while it runs.
//!
//! # The idea
//!
//! A reconfiguration is a transaction like any other, except that its payload is a *configuration*:
//! the complete list of members, with their addresses and roles. Its zxid is the configuration's
//! *version*, so configurations are ordered as the log is. The leader proposes one at a time.
//!
//! Words: a *zxid* is a position in the log, `epoch:counter` (Raft: term and index). A *proposal*
//! is a log entry on its way, a COMMIT tells that a quorum has it. A new leader first brings a
//! quorum up to date (DIFF, TRUNC or a snapshot), ends that with NEWLEADER, which carries the
//! newest configuration, and sends UPTODATE when a quorum has acknowledged NEWLEADER
//! (`learner/join.rs`).
//!
//! Two rules keep it safe. They are those of Raft's joint consensus, with one log entry instead of
//! two:
//!
//! 1. A server that has the proposal in its log counts quorums of *both* configurations, the
//!    committed one and the proposed one, in every decision: elections, epochs, NEWLEADER,
//!    commits. ([`Membership`] holds the two and answers "is this a quorum?".)
//! 2. When the transaction is committed, by quorums of both, the proposed configuration becomes the
//!    committed one and decides alone.
//!
//! Rule 1 starts when the entry is *logged*, not when it is committed, because a server that has
//! acknowledged the entry may have made its commit possible. For the same reason the proposed
//! configuration is on disk (`zoo.cfg.dynamic.next`) before the log entry that carries it: a server
//! cannot acknowledge a reconfiguration and then forget it in a crash.
//!
//! # What one server keeps
//!
//! [`ConfigHistory`] is the only place where a server keeps its members. Three configurations can
//! be known at a time, from old to new:
//!
//! - **committed**: in force. In `zoo.cfg.dynamic.<version>`.
//! - **proposed**: logged, not known to be committed. In `zoo.cfg.dynamic.next`.
//! - **proposed, not logged**: its file was written and the log entry was not (a crash in between),
//!   or a leader cut the entry off. This server has acknowledged nothing, so it needs no quorum of
//!   it; but it accepts notifications of its voters, because other servers may have logged it.
//!
//! Beside them it keeps the newest configuration **in the log** (or in the snapshot below it). It
//! tells whether a proposed configuration is logged at all, and survives as *proposed* when an
//! older configuration becomes committed.
//!
//! # Transitions
//!
//! Everything that can happen to a configuration is a [`ConfigEvent`]; [`ConfigHistory::apply`] is
//! the table of transitions. It is pure: it returns the [`ConfigEffect`]s that the caller carries
//! out. In the table `C` is the configuration of the event:
//!
//! ```text
//! event             when                                  result
//! ReadFromFile(C)   start: zoo.cfg.dynamic.next exists    C is proposed, if it is newer
//! ReadFromState(C)  start: the snapshot or log has C      C is logged; proposed, if it is newer
//! LogRead           the end of the log is known           proposed, beyond the end: not logged
//! Logged(C)         a proposal with C is appended         C is proposed and saved; a proposed
//!                                                         one that is logged before it is
//!                                                         committed (overtaken)
//! Announced(C)      NEWLEADER carries C; or a leader      C is proposed and saved, if it is
//!                   versions its hand-written list        newer than the committed one; if C is
//!                                                         the committed one, none is proposed
//!                                                         any more (abandoned)
//! HistoryAgreed     a leader's history is in place        not logged: forgotten, on disk, too
//! SnapshotStarted   a leader's snapshot replaces the      the same; the log has no configuration
//!                   state
//! Committed(C)      COMMITANDACTIVATE, UPTODATE, leader   C is committed, saved and delivered; a
//!                   established, or a notification        newer one stays or becomes proposed
//! ```
//!
//! "Overtaken" needs a word: the leader proposes one reconfiguration at a time, so a second one in
//! the log proves that the first was committed, even if its COMMIT never arrived here.
//!
//! # Worked example
//!
//! Members 1 2 3 (version 1:0, that is epoch 1, counter 0) become 1 2 3 4 5. Server 3 leads; 4 and
//! 5 follow it without a vote. On server 3:
//!
//! ```text
//!                                  committed   proposed      in the log
//!  at first                        123 @1:0    -             -
//!  Logged(12345 @1:7)              123 @1:0    12345 @1:7    1:7
//!    saves .next, then appends; the proposal goes to 1 2 4 5
//!  ACKs of 3 4 5                   123 @1:0    12345 @1:7    1:7
//!    three of 12345, but only one of 123: not committed
//!  ACK of 1                        quorums of both: COMMITANDACTIVATE(1:7, leader 3)
//!  Committed(12345 @1:7)           12345 @1:7  -             1:7
//! ```
//!
//! Server 2 crashes in between, and its log ends at 1:6 although `.next` was written:
//!
//! ```text
//!                                  committed   proposed      not logged    in the log
//!  ReadFromFile(12345 @1:7)        123 @1:0    12345 @1:7    -             -
//!  LogRead, ends at 1:6            123 @1:0    -             12345 @1:7    -
//!    looks for a leader with quorums of 123; also accepts votes of 4 and 5
//!  HistoryAgreed (DIFF of 3)       123 @1:0    -             -             -
//!  Logged(12345 @1:7)              123 @1:0    12345 @1:7    -             1:7
//!  Committed(12345 @1:7)           12345 @1:7  -             -             1:7
//! ```
//!
//! # The leader afterwards, and a leader that fails
//!
//! The commit of a reconfiguration is a packet of its own, COMMITANDACTIVATE, which also names the
//! leader under the new configuration. The present leader stays if it is a voter of both with the
//! same addresses. Otherwise it names a new voter that has acknowledged the reconfiguration; that
//! server begins the next epoch without an election (`leader/reconfig.rs`).
//!
//! If the leader fails before the commit, the next leader decides by its history. If the proposal
//! is in it, NEWLEADER carries the proposed configuration, and quorums of both commit it with the
//! history. If not, NEWLEADER carries the committed one, and the proposed one is abandoned: it was
//! not committed, because a quorum of the committed configuration has elected a leader without it.
//!
//! `docs/reconfiguration.md` follows whole ensembles, with changes of the leader and crashes.
//!
//! ZooKeeper: `QuorumPeer.setLastSeenQuorumVerifier`, `setQuorumVerifier`, `processReconfig`.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use tracing::info;

use super::{Delivery, Replica};
use crate::action::{Action, Actions, ConfigSave, DiskAction};
use crate::config::EnsembleConfig;
use crate::mutant::mutant;
use crate::quorum::{AckSet, Membership};
use crate::types::{Epoch, HostPort, ServerId, Zxid};

/// An event in the life of a configuration: see the [table](self).
#[derive(Clone, Debug)]
pub(super) enum ConfigEvent {
    ReadFromFile(Arc<EnsembleConfig>),
    ReadFromState(Arc<EnsembleConfig>),
    /// The log (of a server in `current_epoch`) was read, and ends with `last_logged`.
    LogRead {
        current_epoch: Epoch,
        last_logged: Zxid,
    },
    /// `in_broadcast`: the entry was proposed by the leader that this server was in sync with, so
    /// that no other configuration came between this one and the committed one.
    Logged {
        config: Arc<EnsembleConfig>,
        in_broadcast: bool,
    },
    Announced(Arc<EnsembleConfig>),
    HistoryAgreed,
    SnapshotStarted,
    Committed(Arc<EnsembleConfig>),
}

/// The work that a transition leaves to its caller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum ConfigEffect {
    /// This configuration replaces the contents of `zoo.cfg.dynamic.next`.
    SaveProposed(Arc<EnsembleConfig>),
    /// This configuration is committed: it is saved, and the application learns of it. The file of
    /// the proposed one is deleted unless `keeps_next`.
    Activate { config: Arc<EnsembleConfig>, keeps_next: bool },
}

/// The configurations that one server knows, and how they came to be. See the [module](self).
#[derive(Debug)]
pub(super) struct ConfigHistory {
    me: ServerId,
    members: Arc<Membership>,
    /// The newest configuration in the log, or in the snapshot below it.
    last_logged: Option<Arc<EnsembleConfig>>,
    /// The versions of the committed and the proposed configuration, if this server knows that no
    /// other configuration was proposed between the two.
    adjacent_versions: Option<(i64, i64)>,
}

impl ConfigHistory {
    /// The configuration of `zoo.cfg` is the committed one, until something newer is read.
    pub(super) fn new(me: ServerId, committed: Arc<EnsembleConfig>) -> ConfigHistory {
        let members = Arc::new(Membership::new(committed, None));
        ConfigHistory { me, members, last_logged: None, adjacent_versions: None }
    }

    /// The members now. A transition replaces the value; it never changes in place.
    pub(super) fn members(&self) -> &Arc<Membership> {
        &self.members
    }

    /// Makes one transition of the [table](self).
    #[must_use]
    pub(super) fn apply(&mut self, event: ConfigEvent) -> Vec<ConfigEffect> {
        let mut effects = Vec::new();
        match event {
            ConfigEvent::ReadFromFile(config) => self.restore(config),
            ConfigEvent::ReadFromState(config) => {
                self.last_logged = Some(config.clone());
                // A list without a version was written by hand, and overrides the state until a
                // versioned configuration replaces it.
                if self.members.committed().version != 0 {
                    self.restore(config);
                }
            }
            ConfigEvent::LogRead { current_epoch, last_logged } => {
                self.last_logged.take_if(|config| Zxid(config.version) > last_logged);
                self.ignore_unlogged(current_epoch, last_logged);
            }
            ConfigEvent::Logged { config, in_broadcast } => {
                if config.version > self.members.last_seen().version {
                    self.commit_superseded(&mut effects);
                    let versions = (self.members.committed().version, config.version);
                    self.adjacent_versions = in_broadcast.then_some(versions);
                    self.propose(config.clone(), &mut effects);
                }
                self.last_logged = Some(config);
            }
            ConfigEvent::Announced(config) => {
                let is_known = config.version == self.members.last_seen().version
                    && self.members.proposed_not_logged().is_none();
                if !is_known && config.version >= self.members.committed().version {
                    self.propose(config, &mut effects);
                }
            }
            ConfigEvent::HistoryAgreed => self.discard_unlogged(&mut effects),
            ConfigEvent::SnapshotStarted => {
                self.discard_unlogged(&mut effects);
                self.last_logged = None;
            }
            ConfigEvent::Committed(config) => self.commit(config, &mut effects),
        }
        effects
    }

    /// Takes over a proposed configuration that is on disk already.
    fn restore(&mut self, config: Arc<EnsembleConfig>) {
        if config.version > self.members.last_seen().version {
            self.set_proposed(config);
        }
    }

    fn propose(&mut self, config: Arc<EnsembleConfig>, effects: &mut Vec<ConfigEffect>) {
        effects.push(ConfigEffect::SaveProposed(config.clone()));
        self.set_proposed(config);
    }

    /// If this configuration is not newer than the committed one, nothing is proposed any more.
    fn set_proposed(&mut self, config: Arc<EnsembleConfig>) {
        let committed = self.members.committed().clone();
        self.members = Arc::new(Membership::new(committed, Some(config)));
    }

    /// Stops counting quorums of a proposed configuration whose entry is beyond the end of the log:
    /// this server has not acknowledged it, and its quorums could be out of reach.
    ///
    /// A configuration of an earlier epoch stays: NEWLEADER may have brought it, and it was
    /// acknowledged with that, without an entry of its own.
    fn ignore_unlogged(&mut self, current_epoch: Epoch, last_logged: Zxid) {
        let Some(proposed) = self.members.proposed().cloned() else { return };
        let version = Zxid(proposed.version);
        let is_of_this_epoch = version.epoch() == current_epoch && version.counter() != 0;
        if !is_of_this_epoch || version <= last_logged {
            return;
        }
        mutant!(UnloggedChangeCounts => return);
        info!(version = %format_args!("{:x}", version.0), %last_logged,
            "ignoring proposed configuration: not in the log");
        let committed = self.members.committed().clone();
        let logged = self.last_logged.clone().filter(|_| committed.version != 0);
        let members = Membership::new(committed, logged).with_proposed_not_logged(Some(proposed));
        self.members = Arc::new(members);
    }

    /// Forgets a configuration that is not logged, on disk, too: if its file stayed, the next start
    /// could take it for a logged one, as the log is longer by then.
    ///
    /// A server outside the committed configuration keeps the file. It has no other record of its
    /// own addresses, and the configuration of NEWLEADER replaces it soon.
    fn discard_unlogged(&mut self, effects: &mut Vec<ConfigEffect>) {
        if self.members.proposed_not_logged().is_some()
            && self.members.committed().members.contains_key(&self.me)
        {
            let last_seen = self.members.last_seen().clone();
            self.propose(last_seen, effects);
        }
    }

    /// Another configuration follows the proposed one in the log, so that the proposed one was
    /// committed.
    fn commit_superseded(&mut self, effects: &mut Vec<ConfigEffect>) {
        let logged = self.last_logged.as_ref().map(|config| config.version);
        if let Some(proposed) = self.members.proposed().cloned()
            && logged == Some(proposed.version)
        {
            self.commit(proposed, effects);
        }
    }

    fn commit(&mut self, config: Arc<EnsembleConfig>, effects: &mut Vec<ConfigEffect>) {
        if config.version <= self.members.committed().version {
            return;
        }
        let is_newer = |known: &&Arc<EnsembleConfig>| known.version > config.version;
        let logged_or_proposed = self.members.proposed().into_iter().chain(&self.last_logged);
        let proposed = logged_or_proposed.filter(is_newer).max_by_key(|c| c.version).cloned();
        let not_logged = self.members.proposed_not_logged().filter(is_newer).cloned();
        effects.push(ConfigEffect::Activate {
            config: config.clone(),
            keeps_next: proposed.is_some() || not_logged.is_some(),
        });
        let members = Membership::new(config, proposed).with_proposed_not_logged(not_logged);
        self.members = Arc::new(members);
    }

    // ---- questions of discovery

    /// Whether a server with this epoch, whose log ends here, cannot have logged the proposed
    /// configuration. In an epoch after the proposal's it may have it without a log entry, from
    /// NEWLEADER; a history that is not trusted proves nothing.
    pub(super) fn lacks_proposed(&self, current_epoch: Epoch, last_logged: Zxid) -> bool {
        let Some(proposed) = self.members.proposed() else { return false };
        let version = Zxid(proposed.version);
        last_logged != Zxid::UNTRUSTED && current_epoch <= version.epoch() && last_logged < version
    }

    /// Whether the proposed configuration cannot have been committed, and never will be: the
    /// servers in `lacking` have not logged it, accept it from no earlier leader any more, and the
    /// other voters of the committed configuration are no quorum of it.
    ///
    /// Then nothing after it was committed without the committed configuration's consent either,
    /// and discovery needs no quorum of the proposed one. Otherwise a server that is a voter only
    /// in the proposed configuration, and unknown to the others, could block them for ever.
    ///
    /// The proof holds only if no other configuration came between the two.
    pub(super) fn proposed_cannot_have_committed(&self, lacking: &AckSet) -> bool {
        let Some(proposed) = self.members.proposed() else { return false };
        mutant!(OldMembersGoOnAlone => return true);
        let versions = (self.members.committed().version, proposed.version);
        self.adjacent_versions == Some(versions) && self.members.is_blocked_by(lacking)
    }
}

impl Replica {
    /// The members of the ensemble as this server knows them.
    pub(super) fn members(&self) -> &Arc<Membership> {
        self.configs.members()
    }

    /// The configuration that a transaction carries; `None` if it carries none, or if the members
    /// never change here.
    pub(super) fn config_in(&self, body: &[u8]) -> Option<EnsembleConfig> {
        self.options.reconfig.and_then(|read| read(body))
    }

    /// The configuration in a NEWLEADER packet; `None` if the members never change here.
    pub(super) fn config_of_leader(&self, data: Option<&Bytes>) -> Option<EnsembleConfig> {
        self.options.reconfig?;
        let text = core::str::from_utf8(data?).ok().filter(|text| text.len() > 1)?;
        EnsembleConfig::parse("NEWLEADER", text).ok()
    }

    /// Makes a transition and carries out its effects. Returns whether another configuration is
    /// committed now.
    pub(super) fn config_event(&mut self, event: ConfigEvent, out: &mut Actions) -> bool {
        let mut is_activated = false;
        for effect in self.configs.apply(event) {
            match effect {
                ConfigEffect::SaveProposed(config) => self.save_proposed(&config, out),
                ConfigEffect::Activate { config, keeps_next } => {
                    self.activate(config, keeps_next, out);
                    is_activated = true;
                }
            }
        }
        is_activated
    }

    fn save_proposed(&mut self, config: &EnsembleConfig, out: &mut Actions) {
        info!(version = %format_args!("{:x}", config.version), "configuration proposed");
        let (ticket, save) = (self.ticket(), Box::new(ConfigSave::Next { text: config.to_text() }));
        out.push(Action::Disk(DiskAction::SaveConfig { ticket, save }));
    }

    fn activate(&mut self, config: Arc<EnsembleConfig>, keeps_next: bool, out: &mut Actions) {
        info!(version = %format_args!("{:x}", config.version), members = config.members.len(),
            "configuration committed");
        let me = config.members.get(&self.me);
        let save = Box::new(ConfigSave::Current {
            version: config.version,
            text: config.to_file(),
            erases_client: me.is_some_and(|me| me.client.is_some()),
            keeps_next,
        });
        let ticket = self.ticket();
        out.push(Action::Disk(DiskAction::SaveConfig { ticket, save }));
        let members = self.members().clone();
        self.deliveries.push_back(Delivery::Reconfigured { members });
    }
}

/// Whether a server that leads under one configuration can lead under the next: it is a voter of
/// both and its quorum addresses stay the same (`Leader.getDesignatedLeader`).
pub(super) fn remains_leader(
    id: ServerId,
    before: &EnsembleConfig,
    after: &EnsembleConfig,
) -> bool {
    let quorum_addresses = |config: &EnsembleConfig| {
        let member = config.members.get(&id)?;
        let mut all: Vec<HostPort> =
            member.addresses.iter().map(|address| address.quorum.clone()).collect();
        all.sort_unstable();
        Some(all)
    };
    before.is_voter(id) && after.is_voter(id) && quorum_addresses(before) == quorum_addresses(after)
}

#[cfg(test)]
mod tests;
