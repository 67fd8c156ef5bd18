//! The packets of one direction of a quorum connection, with the snapshot inside the stream.

use bytes::{Buf, Bytes, BytesMut};
use zabkeeper_core::store::{SnapshotDecoder, StoreOptions};
use zabkeeper_core::wire::quorum::{PacketType, QuorumPacket};

/// Longer packets are not looked into.
const MOST_BYTES: usize = 16 << 20;
/// Ends a snapshot inside the stream: a length and this.
const SIGNATURE: &[u8] = b"\0\0\0\x0aBenWasHere";

/// What comes next on a quorum connection.
#[derive(Debug)]
pub enum Item {
    /// A packet.
    Packet(PacketType, QuorumPacket),
    /// The end of a snapshot of this many bytes.
    SnapshotEnd(usize),
}

/// Takes bytes, cut anywhere; gives packets.
#[derive(Default)]
pub struct QuorumStream {
    rest: Bytes,
    snapshot: Option<Incoming>,
}

/// A snapshot inside the quorum stream.
struct Incoming {
    decoder: Option<SnapshotDecoder>,
    bytes: usize,
}

impl std::fmt::Debug for QuorumStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes, in a snapshot: {}", self.rest.len(), self.snapshot.is_some())
    }
}

impl QuorumStream {
    /// More bytes.
    pub fn push(&mut self, bytes: &Bytes) {
        if self.rest.is_empty() {
            self.rest = bytes.clone();
        } else {
            let mut both = BytesMut::from(&self.rest[..]);
            both.extend_from_slice(bytes);
            self.rest = both.freeze();
        }
    }

    /// What is complete; nothing, if more bytes are needed.
    ///
    /// # Errors
    /// The bytes are no packet.
    #[expect(clippy::result_unit_err, reason = "there is nothing to say beside it")]
    pub fn take(&mut self) -> Result<Option<Item>, ()> {
        if let Some(incoming) = &mut self.snapshot {
            if let Some(decoder) = &mut incoming.decoder {
                let bytes = std::mem::take(&mut self.rest);
                let length = bytes.len();
                let rest = decoder.push(bytes).map_err(|_| ())?;
                incoming.bytes += length - rest.as_ref().map_or(0, Bytes::len);
                let Some(rest) = rest else { return Ok(None) };
                incoming.decoder = None;
                self.rest = rest;
            }
            if self.rest.len() < SIGNATURE.len() {
                return Ok(None);
            }
            let bytes = incoming.bytes;
            self.rest.advance(SIGNATURE.len());
            self.snapshot = None;
            return Ok(Some(Item::SnapshotEnd(bytes)));
        }
        let parsed = QuorumPacket::parse(&self.rest, MOST_BYTES).map_err(|_| ())?;
        let Some((packet, length)) = parsed else { return Ok(None) };
        self.rest.advance(length);
        let kind = PacketType::from_i32(packet.kind).ok_or(())?;
        if kind == PacketType::Snap {
            let decoder = Some(SnapshotDecoder::new(StoreOptions::default()));
            self.snapshot = Some(Incoming { decoder, bytes: 0 });
        }
        Ok(Some(Item::Packet(kind, packet)))
    }
}
