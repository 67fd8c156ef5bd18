//! The protocol scripts notice, too: with each of these bugs in the core, the script that is about
//! it tells another story than is written in it, or breaks a rule. The whole table is printed.
#![cfg(feature = "mutants")]

use std::fs;
use std::panic;
use std::path::Path;
use std::time::{Duration, Instant};

use zabkeeper_core::mutant::Mutant;
use zabkeeper_fuzz::script;

/// A bug, and the scripts, by number, that have to notice it.
#[rustfmt::skip]
const KNOWN: &[(Mutant, &[&str])] = &[
    // election and discovery
    (Mutant::VoteIgnoresZxid, &["33"]),
    (Mutant::EpochNotSaved, &["36"]),
    (Mutant::LeaderForgetsNewerHistory, &["55"]),
    // synchronisation
    (Mutant::NewLeaderAckedBeforeDurable, &["22"]),
    (Mutant::TruncIgnored, &["14", "38"]),
    (Mutant::TruncatesOneLess, &["14", "38"]),
    (Mutant::DiffSkipsAnEntry, &["49"]),
    (Mutant::WindowHasAHole, &["49"]),
    (Mutant::PendingNotForwarded, &["38"]),
    (Mutant::AcksOutliveASync, &["56"]),
    (Mutant::TruncationTakenForAStart, &["14"]),
    (Mutant::WalkBegunByGivingUp, &["46"]),
    // histories that are not the leader's
    (Mutant::BeginningTakenForCommon, &["70"]),
    (Mutant::NewerHistoryThrownAway, &["74"]),
    // broadcast
    (Mutant::AckBeforeDurable, &["20"]),
    (Mutant::LeaderAcksBeforeDurable, &["60"]),
    (Mutant::HalfIsAQuorum, &["50"]),
    // disk
    (Mutant::LogNotSynced, &["21"]),
    (Mutant::DiskErrorIgnored, &["59"]),
    (Mutant::RecoveredNotDurable, &["35"]),
    (Mutant::SnapshotsGoBeforeTheLog, &["47"]),
    (Mutant::OldSnapshotsStay, &["35", "70"]),
    (Mutant::AnswersBeforeTheMove, &["73"]),
    (Mutant::SyncUnconfirmed, &["52"]),
    (Mutant::ClaimsAreBelieved, &["02"]),
    (Mutant::SnapshotOfUncommitted, &["44"]),
    (Mutant::TornTailKept, &["45"]),
    (Mutant::EpochsNotSynced, &["22"]),
    // sessions and the tree
    (Mutant::EphemeralOutlivesSession, &["25"]),
    (Mutant::SessionIdsRepeat, &["40"]),
    (Mutant::CversionCountsTwice, &["48"]),
    (Mutant::FailedMultiHalfDone, &["28"]),
    (Mutant::SessionForgottenByLeader, &["16"]),
    (Mutant::ReplyZxidTooLow, &["04"]),
    (Mutant::MoveUnnoticed, &["53"]),
    (Mutant::TouchesNotReported, &["25"]),
    (Mutant::RequestForwardedTwice, &["27"]),
    (Mutant::OutstandingIgnored, &["28"]),
    (Mutant::EphemeralsUnderWayForgotten, &["57"]),
    (Mutant::SequenceOfChildren, &["51"]),
    (Mutant::ReapsWhatIsCommitted, &["61"]),
    // watches and reads
    (Mutant::WatchAfterReply, &["27"]),
    (Mutant::WatchFiresTwice, &["58"]),
    (Mutant::MissedWatchForgotten, &["52"]),
    (Mutant::SyncStaysHere, &["07"]),
    (Mutant::ChildWatchOutlivesNode, &["58"]),
    (Mutant::PersistentWatchFiresOnce, &["62"]),
    (Mutant::RecursiveWatchMissesDeletes, &["62"]),
    (Mutant::LastEventsLostWithTheRole, &["69"]),
    // members
    (Mutant::OldQuorumCommitsAChange, &["64"]),
    (Mutant::NextMembersNotAsked, &["64", "66"]),
    (Mutant::RemovedLeaderGoesOn, &["65"]),
    (Mutant::UnloggedChangeCounts, &["71"]),
];

/// The rest of the table is not filled after this.
const LIMIT: Duration = Duration::from_secs(240);

/// Numbers and texts.
fn scripts() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let entries = fs::read_dir(folder).expect("fuzz/scripts");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut all: Vec<(String, String)> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let number = name.split('-').next().unwrap_or_default().to_owned();
            (number, fs::read_to_string(path).expect("text"))
        })
        .collect();
    all.sort();
    all
}

/// Whether this bug shows in this script. A panic shows, too.
fn shows(mutant: Option<Mutant>, text: &str) -> bool {
    Mutant::put(mutant);
    let told = panic::catch_unwind(|| script::run(text));
    Mutant::put(None);
    !matches!(told, Ok(Ok(told)) if told == text)
}

#[test]
fn each_bug_is_told_by_its_script() {
    let (began, scripts) = (Instant::now(), scripts());
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let mut wrong: Vec<String> = scripts
        .iter()
        .filter(|(_, text)| shows(None, text))
        .map(|(number, _)| format!("script {number} does not hold without any bug"))
        .collect();
    println!("| bug | must | do |\n|---|---|---|");
    for mutant in Mutant::ALL {
        // What is in no list is for the swarm to find.
        let must = KNOWN.iter().find(|(known, _)| known == mutant).map(|(_, must)| *must);
        let must = must.unwrap_or_default();
        let mut noticed = Vec::new();
        let mut is_whole = true;
        for (number, text) in &scripts {
            let has_to = must.contains(&number.as_str());
            if !has_to && began.elapsed() > LIMIT {
                is_whole = false;
            } else if shows(Some(*mutant), text) {
                noticed.push(number.as_str());
            } else if has_to {
                wrong.push(format!("script {number} does not notice {mutant:?}"));
            }
        }
        for number in must.iter().filter(|number| !scripts.iter().any(|(n, _)| n == *number)) {
            wrong.push(format!("there is no script {number}"));
        }
        let more = if is_whole { "" } else { " …" };
        println!("| {mutant:?} | {} | {}{more} |", must.join(" "), noticed.join(" "));
    }
    panic::set_hook(hook);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
