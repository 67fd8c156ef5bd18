//! The election's one message (`FastLeaderElection.Notification`), in all its versions.

use alloc::string::String;

use bytes::{BufMut, Bytes, BytesMut};

use super::vote::{PeerState, Vote};
use crate::types::{Epoch, ServerId, Zxid};
use crate::wire::jute::{Malformed, Reader};

/// A notification as it is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notification {
    /// The vote, with the sender's state.
    pub vote: Vote,
    /// The sender's configuration text, of version 2 messages.
    pub config: Option<String>,
}

/// The version that is written: with the configuration.
const VERSION: i32 = 2;

impl Notification {
    /// Reads any version; the error says what was wrong.
    pub fn parse(payload: &Bytes) -> Result<Notification, Malformed> {
        if payload.len() < 28 {
            return Err(Malformed::Truncated);
        }
        let r = &mut Reader::new(payload);
        let state = PeerState::from_i32(r.int()?).ok_or(Malformed::Value("peer state"))?;
        let (leader, zxid) = (r.record::<ServerId>()?, r.record::<Zxid>()?);
        let round = r.long()?;
        let peer_epoch = if payload.len() == 28 { zxid.epoch() } else { Epoch(r.long()?) };
        let version = if payload.len() <= 40 { 0 } else { r.int()? };
        let config = if version > 1 {
            let text = r.buffer()?.ok_or(Malformed::Value("configuration"))?;
            Some(String::from_utf8_lossy(&text).into_owned())
        } else {
            None
        };
        Ok(Notification { vote: Vote { leader, zxid, peer_epoch, round, state, version }, config })
    }

    /// The version 2 message of a vote.
    pub fn encode(vote: &Vote, config: &str) -> Bytes {
        let mut out = BytesMut::with_capacity(48 + config.len());
        out.put_i32(vote.state as i32);
        out.put_i64(vote.leader.0);
        out.put_i64(vote.zxid.0);
        out.put_i64(vote.round);
        out.put_i64(vote.peer_epoch.0);
        out.put_i32(VERSION);
        out.put_i32(config.len() as i32);
        out.put_slice(config.as_bytes());
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(version: i32) -> Vote {
        let (leader, zxid) = (ServerId(3), Zxid(0x5_0000_0009));
        Vote { leader, zxid, peer_epoch: Epoch(5), round: 7, state: PeerState::Leading, version }
    }

    #[test]
    fn every_version_is_read() {
        let whole = Notification::encode(&vote(2), "version=0");
        let parsed = Notification::parse(&whole).unwrap();
        assert_eq!((parsed.vote, parsed.config.as_deref()), (vote(2), Some("version=0")));
        let v0 = Notification::parse(&whole.slice(..40)).unwrap();
        assert_eq!((v0.vote, v0.config), (vote(0), None));
        let oldest = Notification::parse(&whole.slice(..28)).unwrap();
        assert_eq!(oldest.vote, vote(0), "the epoch is the zxid's");
    }

    #[test]
    fn garbage_is_refused() {
        for bad in [&[0u8; 27][..], &[9; 40], &[0, 0, 0, 7]] {
            assert!(Notification::parse(&Bytes::copy_from_slice(bad)).is_err());
        }
        let mut huge = BytesMut::from(&Notification::encode(&vote(2), "")[..]);
        huge[40..44].copy_from_slice(&i32::MAX.to_be_bytes());
        assert!(Notification::parse(&huge.freeze()).is_err());
    }
}
