//! Learners that connect before this server knows that it leads: the others may learn the outcome
//! of an election a moment earlier than the leader does.

use alloc::vec::Vec;
use core::net::IpAddr;

use bytes::{Bytes, BytesMut};

use crate::action::{Action, Actions, Reason};
use crate::types::ConnId;
use crate::wire::PeerError;

/// Connections that are kept. Of more, the oldest is closed.
const MAX: usize = 64;
/// Bytes of one of them that are kept.
const MAX_BYTES: usize = 4096;

/// One such connection.
#[derive(Debug)]
pub(super) struct PendingLearner {
    pub(super) conn: ConnId,
    pub(super) ip: IpAddr,
    pub(super) buffered: BytesMut,
}

/// All such connections, oldest first.
#[derive(Debug, Default)]
pub(super) struct PendingLearners {
    all: Vec<PendingLearner>,
}

impl PendingLearners {
    pub(super) fn opened(&mut self, conn: ConnId, ip: IpAddr, out: &mut Actions) {
        if self.all.len() >= MAX {
            let conn = self.all.remove(0).conn;
            out.push(Action::Close { conn, why: Reason::Limit("learners without a leader") });
        }
        self.all.push(PendingLearner { conn, ip, buffered: BytesMut::new() });
    }

    pub(super) fn owns(&self, conn: ConnId) -> bool {
        self.all.iter().any(|waiting| waiting.conn == conn)
    }

    pub(super) fn received(&mut self, conn: ConnId, bytes: &Bytes, out: &mut Actions) {
        let Some(at) = self.all.iter().position(|waiting| waiting.conn == conn) else { return };
        let buffered = &mut self.all[at].buffered;
        if buffered.len() + bytes.len() > MAX_BYTES {
            self.all.remove(at);
            let why = Reason::Peer(PeerError::TooLongIntroduction);
            out.push(Action::Close { conn, why });
        } else {
            buffered.extend_from_slice(bytes);
        }
    }

    pub(super) fn closed(&mut self, conn: ConnId) {
        self.all.retain(|waiting| waiting.conn != conn);
    }

    pub(super) fn take(&mut self) -> Vec<PendingLearner> {
        core::mem::take(&mut self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_of_too_many_is_closed() {
        let (mut pending, mut out) = (PendingLearners::default(), Actions::new());
        for n in 0..=MAX as u64 {
            pending.opened(ConnId::accepted(n), core::net::Ipv4Addr::LOCALHOST.into(), &mut out);
        }
        assert!(!pending.owns(ConnId::accepted(0)) && pending.owns(ConnId::accepted(MAX as u64)));
        assert_eq!(out.len(), 1);
        let much = Bytes::from(alloc::vec![0; MAX_BYTES]);
        pending.received(ConnId::accepted(5), &much, &mut out);
        assert!(pending.owns(ConnId::accepted(5)));
        pending.received(ConnId::accepted(5), &much.slice(..1), &mut out);
        assert!(!pending.owns(ConnId::accepted(5)));
    }
}
