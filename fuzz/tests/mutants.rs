//! The checkers notice: each of these bugs, put into the core on purpose, is found within its
//! number of seeds. `sim mutants` hunts the rare ones, too.
#![cfg(feature = "mutants")]

use zabkeeper_core::mutant::Mutant;
use zabkeeper_fuzz::mutants::hunt;

/// A bug, and the most seeds that finding it may take.
const KNOWN: &[(Mutant, u64)] = &[
    (Mutant::VoteIgnoresZxid, 400),
    (Mutant::EpochNotSaved, 50),
    (Mutant::NewLeaderAckedBeforeDurable, 50),
    (Mutant::TruncIgnored, 200),
    (Mutant::TruncatesOneLess, 400),
    (Mutant::DiffSkipsAnEntry, 50),
    (Mutant::WindowHasAHole, 50),
    (Mutant::PendingNotForwarded, 100),
    (Mutant::TruncationTakenForAStart, 200),
    (Mutant::BeginningTakenForCommon, 100),
    (Mutant::NewerHistoryThrownAway, 50),
    (Mutant::DivergedFollowerStays, 50),
    (Mutant::AckBeforeDurable, 50),
    (Mutant::LeaderAcksBeforeDurable, 50),
    (Mutant::HalfIsAQuorum, 50),
    (Mutant::LogNotSynced, 100),
    (Mutant::DiskErrorIgnored, 100),
    (Mutant::EpochsNotSynced, 50),
    (Mutant::TornTailKept, 200),
    (Mutant::LeaderForgetsNewerHistory, 300),
    (Mutant::RecoveredNotDurable, 400),
    (Mutant::EphemeralOutlivesSession, 100),
    (Mutant::SessionIdsRepeat, 100),
    (Mutant::FailedMultiHalfDone, 50),
    (Mutant::SessionForgottenByLeader, 50),
    (Mutant::ReplyZxidTooLow, 50),
    (Mutant::MoveUnnoticed, 200),
    (Mutant::TouchesNotReported, 200),
    (Mutant::RequestForwardedTwice, 50),
    (Mutant::OutstandingIgnored, 50),
    (Mutant::EphemeralsUnderWayForgotten, 100),
    (Mutant::SequenceOfChildren, 50),
    (Mutant::ReapsWhatIsCommitted, 400),
    (Mutant::QuotaKeepsTheDeleted, 100),
    (Mutant::ChildWatchOutlivesNode, 50),
    (Mutant::WatchFiresTwice, 50),
    (Mutant::WatchAfterReply, 100),
    (Mutant::SyncStaysHere, 200),
    (Mutant::MissedWatchForgotten, 100),
    (Mutant::RecursiveWatchMissesDeletes, 50),
    (Mutant::PersistentWatchFiresOnce, 50),
    (Mutant::PersistentWatchNotLeftAgain, 100),
    (Mutant::LastEventsLostWithTheRole, 200),
    (Mutant::OldQuorumCommitsAChange, 400),
    (Mutant::NextMembersNotAsked, 400),
    (Mutant::RemovedLeaderGoesOn, 200),
    (Mutant::ChangeForgottenByRestart, 400),
    (Mutant::AnswersBeforeTheMove, 100),
];

#[test]
fn every_mutant_is_found() {
    for (mutant, most) in KNOWN {
        let catch = hunt(*mutant, 0, *most, 2);
        assert!(catch.is_some(), "{mutant:?} is not found within {most} seeds");
    }
}
