//! Learners that came before this server knew that it leads: they may hear of the outcome of an
//! election a moment before the leader does.

use alloc::vec::Vec;
use core::net::IpAddr;

use bytes::{Bytes, BytesMut};

use crate::action::{Action, Actions, Reason};
use crate::types::ConnId;
use crate::wire::PeerError;

/// So many are kept; of more, the oldest goes.
const MOST: usize = 64;
/// And what they may say before they are answered.
const MOST_BYTES: usize = 4096;

/// A connection that waits.
#[derive(Debug)]
pub(super) struct PendingLearner {
    pub(super) conn: ConnId,
    pub(super) ip: IpAddr,
    pub(super) buffered: BytesMut,
}

/// All of them, oldest first.
#[derive(Debug, Default)]
pub(super) struct PendingLearners {
    all: Vec<PendingLearner>,
}

impl PendingLearners {
    pub(super) fn opened(&mut self, conn: ConnId, ip: IpAddr, out: &mut Actions) {
        if self.all.len() >= MOST {
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
        if buffered.len() + bytes.len() > MOST_BYTES {
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
    fn of_too_many_the_oldest_goes() {
        let (mut early, mut out) = (PendingLearners::default(), Actions::new());
        for n in 0..=MOST as u64 {
            early.opened(ConnId::accepted(n), core::net::Ipv4Addr::LOCALHOST.into(), &mut out);
        }
        assert!(!early.owns(ConnId::accepted(0)) && early.owns(ConnId::accepted(MOST as u64)));
        assert_eq!(out.len(), 1);
        let much = Bytes::from(alloc::vec![0; MOST_BYTES]);
        early.received(ConnId::accepted(5), &much, &mut out);
        assert!(early.owns(ConnId::accepted(5)));
        early.received(ConnId::accepted(5), &much.slice(..1), &mut out);
        assert!(!early.owns(ConnId::accepted(5)));
    }
}
