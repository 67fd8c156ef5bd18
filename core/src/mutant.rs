//! Mutants: bugs of kinds that have lost data in other systems. Tests of the simulator's checkers
//! switch them on; without the feature `mutants` they are compiled out.

/// One bug that can be switched on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
#[rustfmt::skip]
pub enum Mutant {
    // election and discovery
    VoteIgnoresZxid, EpochNotSaved, LeaderForgetsNewerHistory,
    // synchronisation
    NewLeaderAckedBeforeDurable, TruncIgnored, TruncatesOneLess, DiffSkipsAnEntry,
    WindowHasAHole, PendingNotForwarded, AcksOutliveASync,
    TruncationTakenForAStart, WalkBegunByGivingUp,
    // histories that are not the leader's
    BeginningTakenForCommon, NewerHistoryThrownAway, DivergedFollowerStays,
    // broadcast
    AckBeforeDurable, LeaderAcksBeforeDurable, HalfIsAQuorum,
    // members
    OldQuorumCommitsAChange, NextMembersNotAsked, RemovedLeaderGoesOn, ChangeForgottenByRestart,
    VoterToBeUnheard, UnloggedChangeCounts, OldMembersGoOnAlone, ClaimsAreBelieved,
    // disk
    LogNotSynced, DiskErrorIgnored, RecoveredNotDurable, SnapshotsGoBeforeTheLog,
    OldSnapshotsStay, SnapshotOfUncommitted, TornTailKept, EpochsNotSynced,
    // sessions and the tree
    EphemeralOutlivesSession, CreateAfterClose, SessionIdsRepeat, CversionCountsTwice,
    FailedMultiHalfDone, SessionForgottenByLeader, ReplyZxidTooLow,
    MoveUnnoticed, TouchesNotReported, RequestForwardedTwice,
    OutstandingIgnored, EphemeralsUnderWayForgotten, SequenceOfChildren,
    ReapsWhatIsCommitted, QuotaKeepsTheDeleted,
    // watches and reads
    WatchAfterReply, WatchFiresTwice, MissedWatchForgotten, SyncStaysHere,
    ChildWatchOutlivesNode, RecursiveWatchMissesDeletes, PersistentWatchFiresOnce,
    PersistentWatchNotLeftAgain, LastEventsLostWithTheRole,
    // sessions that move
    AnswersBeforeTheMove, SyncUnconfirmed,
}

impl Mutant {
    /// All mutants.
    #[rustfmt::skip]
    pub const ALL: &'static [Mutant] = &[
        Mutant::VoteIgnoresZxid, Mutant::EpochNotSaved,
        Mutant::LeaderForgetsNewerHistory, Mutant::NewLeaderAckedBeforeDurable,
        Mutant::TruncIgnored, Mutant::TruncatesOneLess, Mutant::DiffSkipsAnEntry,
        Mutant::WindowHasAHole, Mutant::PendingNotForwarded,
        Mutant::AcksOutliveASync, Mutant::TruncationTakenForAStart, Mutant::WalkBegunByGivingUp,
        Mutant::BeginningTakenForCommon, Mutant::NewerHistoryThrownAway,
        Mutant::DivergedFollowerStays,
        Mutant::AckBeforeDurable, Mutant::LeaderAcksBeforeDurable, Mutant::HalfIsAQuorum,
        Mutant::LogNotSynced, Mutant::DiskErrorIgnored, Mutant::RecoveredNotDurable,
        Mutant::SnapshotsGoBeforeTheLog, Mutant::OldSnapshotsStay, Mutant::SnapshotOfUncommitted,
        Mutant::TornTailKept, Mutant::EpochsNotSynced, Mutant::EphemeralOutlivesSession,
        Mutant::CreateAfterClose, Mutant::SessionIdsRepeat, Mutant::CversionCountsTwice,
        Mutant::FailedMultiHalfDone, Mutant::SessionForgottenByLeader, Mutant::ReplyZxidTooLow,
        Mutant::MoveUnnoticed, Mutant::TouchesNotReported, Mutant::RequestForwardedTwice,
        Mutant::OutstandingIgnored, Mutant::EphemeralsUnderWayForgotten,
        Mutant::SequenceOfChildren, Mutant::ChildWatchOutlivesNode,
        Mutant::WatchAfterReply, Mutant::WatchFiresTwice, Mutant::MissedWatchForgotten,
        Mutant::SyncStaysHere, Mutant::ReapsWhatIsCommitted,
        Mutant::QuotaKeepsTheDeleted,
        Mutant::RecursiveWatchMissesDeletes, Mutant::PersistentWatchFiresOnce,
        Mutant::PersistentWatchNotLeftAgain, Mutant::LastEventsLostWithTheRole,
        Mutant::OldQuorumCommitsAChange, Mutant::NextMembersNotAsked,
        Mutant::RemovedLeaderGoesOn, Mutant::ChangeForgottenByRestart,
        Mutant::VoterToBeUnheard, Mutant::UnloggedChangeCounts,
        Mutant::OldMembersGoOnAlone, Mutant::AnswersBeforeTheMove,
        Mutant::SyncUnconfirmed, Mutant::ClaimsAreBelieved,
    ];
}

/// `mutant!(Name => statement)` runs the statement if the mutant is switched on. It stands on a
/// line of its own, never in a condition, so that a reader of the protocol can skip it.
macro_rules! mutant {
    ($name:ident => $wrong:expr) => {
        if $crate::mutant::Mutant::$name.is_on() {
            $wrong
        }
    };
}
pub(crate) use mutant;

#[cfg(feature = "mutants")]
mod switch {
    use core::sync::atomic::{AtomicUsize, Ordering};

    use super::Mutant;

    /// The number of the mutant that is on, plus one; 0: none.
    static ON: AtomicUsize = AtomicUsize::new(0);

    impl Mutant {
        /// Switches a mutant, or none, on in all nodes of the process.
        pub fn put(mutant: Option<Mutant>) {
            ON.store(mutant.map_or(0, |mutant| mutant as usize + 1), Ordering::SeqCst);
        }

        pub(crate) fn is_on(self) -> bool {
            ON.load(Ordering::Relaxed) == self as usize + 1
        }
    }
}

#[cfg(not(feature = "mutants"))]
impl Mutant {
    /// Whether the mutant is on: never without the feature `mutants`.
    #[inline(always)]
    pub(crate) const fn is_on(self) -> bool {
        false
    }
}
