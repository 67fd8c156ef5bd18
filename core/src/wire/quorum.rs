//! Packets of the quorum port (`QuorumPacket`, `Leader`, `Learner`). They stand bare on the
//! stream, without a length before them.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::client::Id;
use super::code::codes;
use super::jute::{Malformed, Reader, Record, Writer};
use crate::types::{ServerId, SessionId, Zxid};
use crate::wire::entries::{Entries, FRAME_HEAD, FRAME_TAIL};

codes! {
    /// The type of a quorum packet.
    PacketType {
        /// A learner forwards a client's request.
        Request = 1,
        /// The leader proposes a transaction.
        Proposal = 2,
        /// A follower has it on disk.
        Ack = 3,
        /// A quorum has it on disk.
        Commit = 4,
        /// Both ways: alive; the reply carries touched sessions.
        Ping = 5,
        /// A session asks to be re-attached.
        Revalidate = 6,
        /// The answer to a forwarded sync.
        Sync = 7,
        /// PROPOSAL and COMMIT in one, for observers.
        Inform = 8,
        /// COMMIT of a reconfiguration.
        CommitAndActivate = 9,
        /// The history is sent; make it durable.
        NewLeader = 10,
        /// A follower introduces itself.
        FollowerInfo = 11,
        /// ClientPort clients.
        UpToDate = 12,
        /// The packets that follow continue the learner's log.
        Diff = 13,
        /// Cut the log.
        Trunc = 14,
        /// A snapshot follows in the stream.
        Snap = 15,
        /// An observer introduces itself.
        ObserverInfo = 16,
        /// The new epoch.
        LeaderInfo = 17,
        /// The new epoch is accepted.
        AckEpoch = 18,
        /// INFORM of a reconfiguration.
        InformAndActivate = 19,
    }
}

/// One packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuorumPacket {
    /// [`PacketType`] as a number (unknown ones are the receiver's to judge).
    pub kind: i32,
    /// Meaning by type.
    pub zxid: Zxid,
    /// Payload.
    pub data: Option<Bytes>,
    /// The client's ids in a REQUEST; `None` is null on the wire.
    pub auth: Option<Arc<[Id]>>,
}

impl QuorumPacket {
    /// A packet without ids.
    pub fn new(kind: PacketType, zxid: Zxid, data: Option<Bytes>) -> QuorumPacket {
        QuorumPacket { kind: kind as i32, zxid, data, auth: None }
    }

    /// The length of the packet at the front of a stream, or `None` if it is not whole yet.
    /// `limit` bounds the payload, and the ids in sum. Only a REQUEST carries ids.
    pub fn measure(bytes: &[u8], limit: usize) -> Result<Option<usize>, Malformed> {
        let Some(data_length) = int_at(bytes, 12) else { return Ok(None) };
        let data_size = length(data_length, limit)?;
        let Some(auth_count) = int_at(bytes, 16 + data_size) else { return Ok(None) };
        let mut at = 20 + data_size;
        let is_request = int_at(bytes, 0) == Some(PacketType::Request as i32);
        let most_ids = if is_request { MAX_IDS } else { 0 };
        if usize::try_from(auth_count).unwrap_or(0) > most_ids {
            return Err(Malformed::Value("the number of a client's ids"));
        }
        let mut room = limit.min(MAX_ID_BYTES);
        for _ in 0..2 * auth_count.max(0) {
            let Some(n) = int_at(bytes, at) else { return Ok(None) };
            let size = length(n, room)?;
            room -= size;
            at += 4 + size;
        }
        Ok((bytes.len() >= at).then_some(at))
    }

    /// Reads the packet that these bytes are.
    fn read(packet: &Bytes) -> Result<QuorumPacket, Malformed> {
        let r = &mut Reader::new(packet);
        let (kind, zxid, data) = (r.int()?, r.record()?, r.buffer()?);
        let auth = match r.clone().int()? {
            count if count < 0 => None,
            // The usual size, in one allocation.
            1 => {
                r.int()?;
                Some(Arc::from([r.record()?]))
            }
            _ => Some(Arc::from(r.record::<Vec<Id>>()?)),
        };
        Ok(QuorumPacket { kind, zxid, data, auth })
    }

    /// Takes the packet at the front of a stream, or gives `None` if it is not whole yet. The
    /// payload shares the stream's memory.
    pub fn take(stream: &mut Bytes, limit: usize) -> Result<Option<QuorumPacket>, Malformed> {
        let Some(size) = QuorumPacket::measure(stream, limit)? else { return Ok(None) };
        let r = &mut Reader::new(stream);
        let (kind, zxid, length): (i32, Zxid, i32) = (r.int()?, r.record()?, r.int()?);
        if size != FRAME_HEAD + FRAME_TAIL + usize::try_from(length).unwrap_or(0) {
            return QuorumPacket::read(&stream.split_to(size)).map(Some);
        }
        // Without ids, as nearly all are.
        let has_ids = r.skip(length.max(0) as usize).and_then(|()| r.int())? >= 0;
        stream.advance(FRAME_HEAD);
        let data = usize::try_from(length).ok().map(|length| stream.split_to(length));
        stream.advance(FRAME_TAIL);
        Ok(Some(QuorumPacket { kind, zxid, data, auth: has_ids.then(Arc::default) }))
    }

    /// The packet at the front of a stream with its length, or `None` if it is not whole yet.
    pub fn parse(bytes: &Bytes, limit: usize) -> Result<Option<(QuorumPacket, usize)>, Malformed> {
        let mut rest = bytes.clone();
        let packet = QuorumPacket::take(&mut rest, limit)?;
        Ok(packet.map(|packet| (packet, bytes.len() - rest.len())))
    }

    /// Appends the packet.
    pub fn write(&self, out: &mut BytesMut) {
        out.put_i32(self.kind);
        self.zxid.write(out);
        out.put_buffer(self.data.as_deref());
        match &self.auth {
            None => out.put_i32(-1),
            Some(ids) => {
                out.put_count(ids.len());
                ids.iter().for_each(|id| id.write(out));
            }
        }
    }

    /// The packet as bytes.
    pub fn to_bytes(&self) -> Bytes {
        let ids = self.auth.iter().flat_map(|ids| ids.iter());
        let ids: usize = ids.map(|id| 8 + id.scheme.len() + id.id.len()).sum();
        let data = self.data.as_ref().map_or(0, Bytes::len);
        let mut out = BytesMut::with_capacity(FRAME_HEAD + data + FRAME_TAIL + ids);
        self.write(&mut out);
        out.freeze()
    }
}

/// Appends a packet that is a type and a zxid alone: ACK, COMMIT, UPTODATE, DIFF, …
pub(crate) fn put_bare(out: &mut BytesMut, kind: PacketType, zxid: Zxid) {
    let mut packet = [0xff; BARE_BYTES];
    packet[..FRAME_HEAD].copy_from_slice(&frame_head(kind, zxid, -1));
    out.put_slice(&packet);
}

/// More ids than any client connection accumulates.
const MAX_IDS: usize = 1024;
/// And more bytes in them.
const MAX_ID_BYTES: usize = 1 << 20;

fn int_at(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..)?.first_chunk::<4>().map(|b| i32::from_be_bytes(*b))
}

fn length(n: i32, limit: usize) -> Result<usize, Malformed> {
    match usize::try_from(n) {
        Ok(size) if size <= limit => Ok(size),
        Ok(_) => Err(Malformed::TooLong { length: n, limit }),
        Err(_) if n == -1 => Ok(0),
        Err(_) => Err(Malformed::Length(n)),
    }
}

/// A packet without payload, both of whose lengths are -1.
pub(crate) const BARE_BYTES: usize = FRAME_HEAD + FRAME_TAIL;

/// The header before a payload.
pub(crate) fn frame_head(kind: PacketType, zxid: Zxid, length: i32) -> [u8; FRAME_HEAD] {
    let mut head = [0; FRAME_HEAD];
    head[..4].copy_from_slice(&(kind as i32).to_be_bytes());
    head[4..12].copy_from_slice(&zxid.0.to_be_bytes());
    head[12..].copy_from_slice(&length.to_be_bytes());
    head
}

/// Appends a packet around a payload that is appended by `body`, without ids.
pub(crate) fn put_frame(
    out: &mut BytesMut,
    kind: PacketType,
    zxid: Zxid,
    body: impl FnOnce(&mut BytesMut),
) {
    let start = out.len();
    out.put_slice(&frame_head(kind, zxid, 0));
    body(out);
    let length = (out.len() - start - FRAME_HEAD) as i32;
    if let Some(at) = out.get_mut(start + 12..start + FRAME_HEAD) {
        at.copy_from_slice(&length.to_be_bytes());
    }
    out.put_slice(&[0xff; FRAME_TAIL]);
}

/// The front of a stream: one packet, or a run of packets that differ only in their consecutive
/// zxids and their transactions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Packets {
    /// PROPOSALs or INFORMs.
    Entries {
        /// Which of the two.
        kind: PacketType,
        /// Their payloads.
        entries: Entries,
    },
    /// ACKs or COMMITs.
    Bare {
        /// Which of the two.
        kind: PacketType,
        /// The zxid of the first.
        first: Zxid,
        /// How many.
        count: usize,
    },
    /// Any other.
    One(QuorumPacket),
}

impl Packets {
    /// Takes what is at the front of a stream, or gives `None` if it is not whole yet. Payloads
    /// share the stream's memory, and each is at most `limit` long.
    pub fn take(stream: &mut Bytes, limit: usize) -> Result<Option<Packets>, Malformed> {
        let kind = int_at(stream, 0).and_then(PacketType::from_i32);
        match kind {
            Some(kind @ (PacketType::Proposal | PacketType::Inform)) => {
                let (at, _, count) = run(stream, kind, |length| {
                    usize::try_from(length).ok().filter(|length| *length <= limit)
                });
                if count > 0 {
                    let entries = Entries::of_frames(stream.split_to(at), count);
                    return Ok(Some(Packets::Entries { kind, entries }));
                }
            }
            Some(kind @ (PacketType::Ack | PacketType::Commit)) => {
                let (at, first, count) = run(stream, kind, |length| (length == -1).then_some(0));
                if count > 0 {
                    stream.advance(at);
                    return Ok(Some(Packets::Bare { kind, first, count }));
                }
            }
            _ => {}
        }
        let Some(packet) = QuorumPacket::take(stream, limit)? else { return Ok(None) };
        // With what no server puts into it.
        Ok(Some(match (kind, &packet.data) {
            (Some(kind @ (PacketType::Proposal | PacketType::Inform)), Some(body)) => {
                Packets::Entries { kind, entries: Entries::one(packet.zxid, body) }
            }
            (Some(kind @ (PacketType::Ack | PacketType::Commit)), _) => {
                Packets::Bare { kind, first: packet.zxid, count: 1 }
            }
            _ => Packets::One(packet),
        }))
    }
}

/// Whole packets of one kind and of one epoch's consecutive zxids, without ids, whose payloads have
/// a length that `payload` knows: where they end, the first one's zxid, how many. That of an
/// epoch's beginning, which is no transaction's, stands alone.
fn run(
    stream: &[u8],
    kind: PacketType,
    payload: impl Fn(i32) -> Option<usize>,
) -> (usize, Zxid, usize) {
    let (mut at, mut first, mut count) = (0, Zxid::ZERO, 0);
    let mut rest = stream;
    while let Some((head, after)) = rest.split_first_chunk::<FRAME_HEAD>() {
        let zxid = int_at(head, 4).zip(int_at(head, 8));
        let zxid = zxid.map_or(0, |(epoch, counter)| {
            i64::from(epoch) << 32 | i64::from(counter.cast_unsigned())
        });
        let is_next = count == 0
            || (first.0.checked_add(count as i64) == Some(zxid)
                && Zxid(zxid).epoch() == first.epoch()
                && first.counter() != 0);
        let is_one = head[..4] == (kind as i32).to_be_bytes() && is_next;
        let length = int_at(head, 12).and_then(&payload).filter(|_| is_one);
        let Some(after) = length.and_then(|length| after.get(length..)) else { break };
        let Some((tail, after)) = after.split_first_chunk::<FRAME_TAIL>() else { break };
        if *tail != [0xff; FRAME_TAIL] {
            break;
        }
        if count == 0 {
            first = Zxid(zxid);
        }
        rest = after;
        at = stream.len() - rest.len();
        count += 1;
    }
    (at, first, count)
}

/// The payload of FOLLOWERINFO and OBSERVERINFO; 8- and 12-byte forms are of old servers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct LearnerInfo {
    pub server: ServerId,
    /// 0x10000 of every server since 3.4.
    pub protocol_version: i32,
    /// The learner's configuration version.
    pub config_version: i64,
}

/// The protocol version of Zab 1.0, which LEADERINFO carries.
pub const PROTOCOL_VERSION: i32 = 0x10000;

impl LearnerInfo {
    /// Reads any of the three forms.
    pub fn parse(data: &Bytes) -> Result<LearnerInfo, Malformed> {
        let r = &mut Reader::new(data);
        Ok(LearnerInfo {
            server: r.record()?,
            protocol_version: if r.is_empty() { 1 } else { r.int()? },
            config_version: if r.is_empty() { 0 } else { r.long()? },
        })
    }
    /// The 20-byte form.
    pub fn to_bytes(self) -> Bytes {
        let mut out = BytesMut::with_capacity(20);
        self.server.write(&mut out);
        out.put_i32(self.protocol_version);
        out.put_i64(self.config_version);
        out.freeze()
    }
}

/// The payload of a REQUEST: a client's request on its way to the leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForwardedRequest {
    /// The session.
    pub session: SessionId,
    /// The client's xid.
    pub cxid: i32,
    /// The operation.
    pub op: i32,
    /// The request record, without header.
    pub body: Bytes,
}

impl ForwardedRequest {
    /// Reads the payload.
    pub fn parse(data: &Bytes) -> Result<ForwardedRequest, Malformed> {
        let r = &mut Reader::new(data);
        Ok(ForwardedRequest { session: r.record()?, cxid: r.int()?, op: r.int()?, body: r.rest() })
    }
    /// Writes the payload.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(16 + self.body.len());
        self.session.write(&mut out);
        out.put_i32(self.cxid);
        out.put_i32(self.op);
        out.put_slice(&self.body);
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_read_whole_or_not_yet() {
        let packet = QuorumPacket {
            kind: PacketType::Request as i32,
            zxid: Zxid(-1),
            data: Some(Bytes::from_static(b"payload")),
            auth: Some(Arc::from([Id { scheme: "ip".into(), id: "127.0.0.1".into() }])),
        };
        let bytes = packet.to_bytes();
        for n in 0..bytes.len() {
            assert_eq!(QuorumPacket::parse(&bytes.slice(..n), 1000), Ok(None), "{n} bytes");
        }
        assert_eq!(QuorumPacket::parse(&bytes, 1000), Ok(Some((packet, bytes.len()))));
    }

    #[test]
    fn entries_that_are_copied_are_proposals() {
        let zxid = Zxid(0x1_0000_0007);
        let packet =
            QuorumPacket::new(PacketType::Proposal, zxid, Some(Bytes::from_static(b"txn")));
        assert_eq!(*Entries::one(zxid, b"txn").frames(), packet.to_bytes());
    }

    #[test]
    fn the_last_zxid_of_all_has_no_next() {
        let mut stream = BytesMut::new();
        for zxid in [i64::MAX - 1, i64::MAX, i64::MIN] {
            put_bare(&mut stream, PacketType::Commit, Zxid(zxid));
        }
        let mut stream = stream.freeze();
        let mut taken = || Packets::take(&mut stream, 100).unwrap();
        let kind = PacketType::Commit;
        let first = Zxid(i64::MAX - 1);
        assert_eq!(taken(), Some(Packets::Bare { kind, first, count: 2 }));
        assert_eq!(taken(), Some(Packets::Bare { kind, first: Zxid(i64::MIN), count: 1 }));
    }

    #[test]
    fn packets_are_taken_together_as_far_as_their_zxids_go_on() {
        let mut stream = BytesMut::new();
        let zxids = [1, 2, 3, 5, 6, 0x1_0000_0000, 0x1_0000_0001, 0x1_0000_0002];
        for (kind, zxid) in [PacketType::Ack, PacketType::Commit]
            .into_iter()
            .flat_map(|kind| zxids.map(|zxid| (kind, zxid)))
        {
            put_bare(&mut stream, kind, Zxid(zxid));
        }
        let whole = stream.freeze();
        let cut = whole.len() - 7;
        let mut stream = whole.slice(..cut);
        let mut runs = alloc::vec::Vec::new();
        while let Some(packets) = Packets::take(&mut stream, 100).unwrap() {
            let Packets::Bare { kind, first, count } = packets else { panic!("{packets:?}") };
            runs.push((kind, first.0, count));
        }
        let of = |kind, last| {
            [(kind, 1, 3), (kind, 5, 2), (kind, 0x1_0000_0000, 1), (kind, 0x1_0000_0001, last)]
        };
        let expected = [of(PacketType::Ack, 2), of(PacketType::Commit, 1)].concat();
        assert_eq!((runs, stream.len()), (expected, BARE_BYTES - 7));
    }

    #[test]
    fn every_captured_packet_of_real_servers_is_read_and_written_back() {
        let lines = include_str!("../../testdata/quorum/packets.txt").lines();
        let mut kinds = alloc::collections::BTreeSet::new();
        for line in lines.filter(|l| !l.starts_with('#')) {
            let digits = (0..line.len()).step_by(2);
            let byte = |i| u8::from_str_radix(&line[i..i + 2], 16).unwrap();
            let bytes: Bytes = digits.map(byte).collect();
            let (packet, length) = QuorumPacket::parse(&bytes, 1 << 21).unwrap().unwrap();
            assert_eq!((packet.to_bytes(), length), (bytes.clone(), bytes.len()));
            kinds.insert(packet.kind);
            let kind = PacketType::from_i32(packet.kind).expect("a known type");
            let data = packet.data.clone().unwrap_or_default();
            match kind {
                PacketType::Proposal => {
                    let txn = crate::wire::txn::LoggedTxn::from_bytes(&data).unwrap();
                    assert_eq!((txn.to_bytes(), txn.header.zxid), (data, packet.zxid));
                }
                PacketType::Request => {
                    assert_eq!(ForwardedRequest::parse(&data).unwrap().to_bytes(), data);
                }
                PacketType::FollowerInfo | PacketType::ObserverInfo => {
                    assert_eq!(LearnerInfo::parse(&data).unwrap().to_bytes(), data);
                }
                _ => {}
            }
        }
        assert!((1..=19).all(|kind| kinds.contains(&kind)), "every type was seen: {kinds:?}");
    }

    #[test]
    fn hostile_lengths_are_refused() {
        let mut bytes = BytesMut::new();
        bytes.put_i32(2);
        bytes.put_i64(1);
        bytes.put_i32(i32::MAX);
        let (length, limit) = (i32::MAX, 1000);
        let too_long = Err(Malformed::TooLong { length, limit });
        assert_eq!(QuorumPacket::parse(&bytes.freeze(), limit), too_long, "in words of its own");
    }
}
