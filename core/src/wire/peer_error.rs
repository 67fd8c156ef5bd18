//! Errors of peers on a port of the ensemble.

use core::fmt::{self, Display, Formatter};

use super::quorum::PacketType;
use crate::types::{Epoch, Zxid};

/// A peer broke the protocol, or its state does not fit to this server's: what it sent, and what
/// was expected. Its connection is closed; if the peer is the leader, this server looks for
/// another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum PeerError {
    // ---- packets
    /// Bytes that are no quorum packet.
    MalformedPacket,
    /// A type that no version of ZooKeeper knows.
    UnknownPacket { kind: i32 },
    /// A type that is known, at the wrong time.
    UnexpectedPacket { got: PacketType, expected: &'static str },
    /// A packet that needs a payload has none.
    MissingPayload(PacketType),
    /// The payload of a packet cannot be read.
    MalformedPayload(PacketType),
    /// An unidentified peer sends more than it needs to introduce itself.
    TooLongIntroduction,
    /// More servers follow that are no members than this one takes.
    TooManyNonmembers,

    // ---- learners, as a leader sees them
    /// FOLLOWERINFO of a version before Zab 1.0.
    OldProtocol { got: i32, expected: i32 },
    /// The learner's committed configuration is newer than the leader's (versions).
    NewerConfiguration { got: i64, own: i64 },
    /// An accepted epoch that no ensemble reaches: a damaged `acceptedEpoch` file.
    ImpossibleAcceptedEpoch { got: Epoch, own: Epoch },
    /// The learner has accepted a later epoch, and cannot follow this leader.
    LaterEpochAccepted { got: Epoch, own: Epoch },
    /// During discovery: the learner's history is newer than that of the leader.
    NewerHistory { got: (Epoch, Zxid), own: (Epoch, Zxid) },
    /// The learner has transactions of an epoch that the leader's history cannot lack.
    UnknownHistory { got: Zxid },
    /// The first ACK acknowledges something else than NEWLEADER.
    AckBeforeNewLeader { got: Zxid, expected: Zxid },

    // ---- leaders, as a learner sees them
    /// LEADERINFO with an epoch that no ensemble reaches.
    ImpossibleEpoch { got: Epoch, accepted: Epoch },
    /// NEWLEADER of another epoch than LEADERINFO.
    WrongNewLeader { got: Zxid, expected: Zxid },
    /// A DIFF or TRUNC, where this server has asked for a snapshot.
    SnapshotRefused { got: PacketType },
    /// A proposal does not follow the last one.
    ProposalGap { got: Zxid, expected: Zxid },
    /// A COMMIT does not commit the oldest pending proposal.
    CommitOutOfOrder { got: Zxid, expected: Option<Zxid> },
    /// The commit of a reconfiguration names no leader.
    NoDesignatedLeader,
}

/// ZooKeeper's name of a packet type.
fn name(kind: PacketType) -> alloc::string::String {
    alloc::format!("{kind:?}").to_uppercase()
}

impl Display for PeerError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            PeerError::MalformedPacket => f.write_str("malformed quorum packet"),
            PeerError::UnknownPacket { kind } => write!(f, "unknown quorum packet type {kind}"),
            PeerError::UnexpectedPacket { got, expected } => {
                write!(f, "unexpected {}: expected {expected}", name(got))
            }
            PeerError::MissingPayload(kind) => write!(f, "{} without a payload", name(kind)),
            PeerError::MalformedPayload(kind) => write!(f, "malformed payload of {}", name(kind)),
            PeerError::TooLongIntroduction => f.write_str("too many bytes before LEADERINFO"),
            PeerError::TooManyNonmembers => f.write_str("too many learners that are no members"),
            PeerError::OldProtocol { got, expected } => {
                write!(f, "protocol version {got:#x}: expected at least {expected:#x} (Zab 1.0)")
            }
            PeerError::NewerConfiguration { got, own } => {
                write!(f, "its configuration {got:x} is newer than that of this leader, {own:x}")
            }
            PeerError::ImpossibleAcceptedEpoch { got, own } => write!(
                f,
                "accepted epoch {got} cannot follow {own}: is its acceptedEpoch file damaged"
            ),
            PeerError::LaterEpochAccepted { got, own } => {
                write!(f, "it has accepted epoch {got}, and this leader's is {own}")
            }
            PeerError::NewerHistory { got, own } => write!(
                f,
                "its history (epoch {}, {}) is newer than that of this leader (epoch {}, {})",
                got.0, got.1, own.0, own.1
            ),
            PeerError::UnknownHistory { got } => {
                write!(f, "its history ends at {got}, which this leader cannot lack")
            }
            PeerError::AckBeforeNewLeader { got, expected } => {
                write!(f, "ACK of {got}: expected that of NEWLEADER, {expected}")
            }
            PeerError::ImpossibleEpoch { got, accepted } => {
                write!(f, "epoch {got} of the leader cannot follow {accepted}")
            }
            PeerError::WrongNewLeader { got, expected } => {
                write!(f, "NEWLEADER {got}: expected {expected}")
            }
            PeerError::SnapshotRefused { got } => {
                write!(f, "{}: expected SNAP, which was asked for", name(got))
            }
            PeerError::ProposalGap { got, expected } => {
                write!(f, "gap in the proposals: {got}, expected {expected}")
            }
            PeerError::CommitOutOfOrder { got, expected: Some(expected) } => {
                write!(f, "COMMIT of {got}: expected {expected}")
            }
            PeerError::CommitOutOfOrder { got, expected: None } => {
                write!(f, "COMMIT of {got}: nothing is pending")
            }
            PeerError::NoDesignatedLeader => {
                f.write_str("a reconfiguration is committed without a leader")
            }
        }
    }
}
