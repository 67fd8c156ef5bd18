//! What one side of a connection says, as things that can be compared.

use bytes::{Buf, Bytes, BytesMut};
use zabkeeper_core::election::{Notification, PeerState};
use zabkeeper_core::event::Port;
use zabkeeper_core::store::{SnapshotDecoder, StoreOptions};
use zabkeeper_core::types::Zxid;
use zabkeeper_core::wire::quorum::{PacketType, QuorumPacket};

const MOST_BYTES: usize = 16 << 20;
/// Ends a snapshot inside the stream: a length and this.
const SIGNATURE: &[u8] = b"\0\0\0\x0aBenWasHere";

/// What kind of thing is said. Things of one kind come in an order that the protocol gives;
/// between kinds ZooKeeper's own order depends on its threads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kind {
    Hello,
    Notification,
    Packet(i32),
    Snapshot,
}

impl Kind {
    pub(super) const PING: Kind = Kind::Packet(PacketType::Ping as i32);
    pub(super) const ACK: Kind = Kind::Packet(PacketType::Ack as i32);
}

/// One thing said, with its bytes as far as they can be compared.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) kind: Kind,
    pub(super) text: String,
    pub(super) bytes: Bytes,
    /// Whom a notification of a server that looks for a leader is for.
    pub(super) candidate: Option<i64>,
    /// When, in the life of who says it.
    pub(super) at_ms: u64,
}

impl Word {
    fn new(kind: Kind, text: impl Into<String>, bytes: Bytes) -> Word {
        Word { kind, text: text.into(), bytes, candidate: None, at_ms: 0 }
    }

    /// The zxid of a packet.
    pub(super) fn zxid(&self) -> Option<i64> {
        let is_packet = matches!(self.kind, Kind::Packet(_));
        let zxid = self.bytes.get(4..12).filter(|_| is_packet)?;
        zxid.try_into().ok().map(i64::from_be_bytes)
    }
}

impl PartialEq for Word {
    fn eq(&self, other: &Word) -> bool {
        (self.kind, &self.text, &self.bytes) == (other.kind, &other.text, &other.bytes)
    }
}

/// Takes the bytes of one side, cut anywhere.
pub(super) struct Words {
    port: Port,
    rest: BytesMut,
    /// The hello is still to come.
    is_first: bool,
    snapshot: Option<(Zxid, Option<SnapshotDecoder>, String)>,
}

impl Words {
    /// `dialled`: who dialled an election connection says hello first.
    pub(super) fn new(port: Port, dialled: bool) -> Words {
        Words { port, rest: BytesMut::new(), is_first: dialled, snapshot: None }
    }

    pub(super) fn push(&mut self, at_ms: u64, bytes: &[u8]) -> Vec<Word> {
        self.rest.extend_from_slice(bytes);
        std::iter::from_fn(|| self.take()).map(|word| Word { at_ms, ..word }).collect()
    }

    fn take(&mut self) -> Option<Word> {
        match self.port {
            Port::Client => None,
            Port::Election if self.is_first => {
                let length = 20 + usize::try_from(int(&self.rest, 16)?).expect("a length");
                let bytes = self.cut(length)?;
                self.is_first = false;
                Some(Word::new(Kind::Hello, "hello", bytes))
            }
            Port::Election => {
                let length = 4 + usize::try_from(int(&self.rest, 0)?).expect("a length");
                let bytes = self.cut(length)?;
                let read = Notification::parse(&bytes.slice(4..)).expect("a notification");
                let text = format!("{:?}", read.vote);
                let vote = &read.vote;
                let candidate = (vote.state == PeerState::Looking).then_some(vote.leader.0);
                Some(Word { candidate, ..Word::new(Kind::Notification, text, bytes) })
            }
            Port::Quorum => self.packet(),
        }
    }

    fn packet(&mut self) -> Option<Word> {
        if let Some((zxid, decoder, text)) = &mut self.snapshot {
            if let Some(mut taken) = decoder.take() {
                let bytes = self.rest.split().freeze();
                let Some(rest) = taken.push(bytes).expect("a snapshot") else {
                    *decoder = Some(taken);
                    return None;
                };
                let store = taken.finish(*zxid);
                let sessions: Vec<_> = store.sessions().collect();
                let (digest, nodes) = (store.digest(), store.node_count());
                *text = format!("snapshot of {nodes} nodes, {digest:x}, {sessions:?}");
                self.rest.extend_from_slice(&rest);
            }
            if self.rest.len() < SIGNATURE.len() {
                return None;
            }
            assert!(self.rest.starts_with(SIGNATURE), "a snapshot's signature");
            self.rest.advance(SIGNATURE.len());
            let text = std::mem::take(text);
            self.snapshot = None;
            // Siblings and ACLs have no order, so that bytes say nothing.
            return Some(Word::new(Kind::Snapshot, text, Bytes::new()));
        }
        let all = Bytes::copy_from_slice(&self.rest);
        let (packet, length) = QuorumPacket::parse(&all, MOST_BYTES).expect("a packet")?;
        let bytes = self.cut(length)?;
        let text = match PacketType::from_i32(packet.kind) {
            Some(kind) => format!("{kind:?} {}", packet.zxid),
            None => format!("type {} {}", packet.kind, packet.zxid),
        };
        if packet.kind == PacketType::Snap as i32 {
            let decoder = SnapshotDecoder::new(StoreOptions::default());
            self.snapshot = Some((packet.zxid, Some(decoder), String::new()));
        }
        Some(Word::new(Kind::Packet(packet.kind), text, bytes))
    }

    fn cut(&mut self, length: usize) -> Option<Bytes> {
        (self.rest.len() >= length).then(|| self.rest.split_to(length).freeze())
    }
}

fn int(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..at + 4)?.try_into().ok().map(i32::from_be_bytes)
}
