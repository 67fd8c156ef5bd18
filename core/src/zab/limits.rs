//! Packets that are too long: the reasons to close a link or to leave a role, and the pause before
//! the next attempt.

use alloc::format;
use alloc::string::String;

use tracing::warn;

use super::Replica;
use crate::action::Reason;
use crate::types::Time;
use crate::wire::PeerError;
use crate::wire::entries::Entries;
use crate::wire::jute::Malformed;

/// The pause between two warnings about oversized transactions.
const WARNING_INTERVAL_MS: u64 = 60_000;
/// The first and the longest pause before the next join, after a packet of the leader was too long.
/// The leader will send it again.
const PAUSES_MS: (u64, u64) = (1000, 10_000);

/// The reason to close the link of a learner.
pub(super) fn learner_close_reason(malformed: Malformed) -> Reason {
    match malformed {
        Malformed::TooLong { length, limit } => {
            let what = "a learner's packet exceeds jute.maxbuffer of this server";
            Reason::TooLong { what, length, limit }
        }
        Malformed::Truncated | Malformed::Length(_) | Malformed::Value(_) => {
            Reason::Peer(PeerError::MalformedPacket)
        }
    }
}

/// The reason to leave a leader. A packet that is too long delays the next join, each time longer.
pub(super) fn leader_packet_error(
    now: Time,
    replica: &mut Replica,
    malformed: Malformed,
) -> String {
    let Malformed::TooLong { length, limit } = malformed else {
        return "malformed quorum packet from the leader".into();
    };
    let pause = (replica.limit_pause_ms * 2).clamp(PAUSES_MS.0, PAUSES_MS.1);
    replica.limit_pause_ms = pause;
    replica.join_not_before = now.plus_ms(pause);
    format!(
        "a packet of {length} bytes from the leader exceeds the limit of {limit}; jute.maxbuffer is \
         {} here: start with -Djute.maxbuffer of the other members",
        replica.options.jute_max_buffer
    )
}

/// Warns, once a minute, of a transaction that is longer than clients may send here. It is logged
/// all the same, as far as it can be stored: a quorum has accepted it, and a server that refuses it
/// would stay out of the ensemble.
pub(super) fn warn_oversized(now: Time, replica: &mut Replica, entries: &Entries) {
    let limit = replica.options.max_payload;
    let is_recent = |at: Time| now.ms_since(at) < WARNING_INTERVAL_MS;
    if entries.frames().len() <= limit || replica.oversize_warned_at.is_some_and(is_recent) {
        return;
    }
    let longest = entries.iter().map(|(_, body)| body.len()).max().unwrap_or(0);
    if longest > limit {
        replica.oversize_warned_at = Some(now);
        warn!(
            "logging a transaction of {longest} bytes from the leader; jute.maxbuffer is {} here, and \
             clients of this server cannot write as much: start with -Djute.maxbuffer of the other \
             members",
            replica.options.jute_max_buffer
        );
    }
}
