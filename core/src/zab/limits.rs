//! More bytes than are taken: which words a link or a role ends with, and how long the next attempt
//! waits.

use alloc::format;
use alloc::string::String;

use tracing::warn;

use super::Replica;
use crate::action::Reason;
use crate::types::Time;
use crate::wire::PeerError;
use crate::wire::entries::Entries;
use crate::wire::jute::Malformed;

/// That the leader sends more than clients may is told once in this time.
const TOLD_MS: u64 = 60_000;
/// The leader will send again what was not taken: the first pause before the next join, and the
/// longest.
const PAUSES_MS: (u64, u64) = (1000, 10_000);

/// Why a learner's link ends.
pub(super) fn learner_close_reason(malformed: Malformed) -> Reason {
    match malformed {
        Malformed::TooLong { length, limit } => {
            let what = "a learner's packet beyond jute.maxbuffer of this server";
            Reason::TooLong { what, length, limit }
        }
        Malformed::Truncated | Malformed::Length(_) | Malformed::Value(_) => {
            Reason::Peer(PeerError::MalformedPacket)
        }
    }
}

/// Why a term under a leader ends. What is too long delays the next one, longer each time.
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
        "a packet of {length} bytes from the leader, and at most {limit} are taken; jute.maxbuffer \
         is {} here: start with -Djute.maxbuffer of the other members",
        replica.options.jute_max_buffer
    )
}

/// What the leader sends is taken as far as it can be stored: a quorum has agreed to it, and to
/// refuse it is to stay out. That it is more than clients may send here is told once a minute.
pub(super) fn warn_oversized(now: Time, replica: &mut Replica, entries: &Entries) {
    let most = replica.options.max_payload;
    let is_recent = |told: Time| now.ms_since(told) < TOLD_MS;
    if entries.frames().len() <= most || replica.oversize_warned_at.is_some_and(is_recent) {
        return;
    }
    let longest = entries.iter().map(|(_, body)| body.len()).max().unwrap_or(0);
    if longest > most {
        replica.oversize_warned_at = Some(now);
        warn!(
            "a transaction of {longest} bytes from the leader is taken; jute.maxbuffer is {} here, \
             and clients of this server cannot write as much: start with -Djute.maxbuffer of the \
             other members",
            replica.options.jute_max_buffer
        );
    }
}
