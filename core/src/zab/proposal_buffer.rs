//! Proposals of one step, encoded once for the log and for every follower.

use bytes::BytesMut;

use crate::types::Zxid;
use crate::wire::entries::{Entries, FRAME_HEAD, FRAME_TAIL};
use crate::wire::quorum::{PacketType, put_frame};

/// The allocation for proposals, bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// Proposals that wait for the end of the step. Many share one allocation, which is freed with the
/// last of them.
#[derive(Default, Debug)]
pub(super) struct ProposalBuffer {
    buffer: BytesMut,
    count: usize,
}

impl ProposalBuffer {
    /// Encodes a proposal. `body` appends the transaction, about `hint` bytes, to the buffer.
    /// Returns the earlier proposals if they do not fit into one allocation with it.
    pub(super) fn encode(
        &mut self,
        zxid: Zxid,
        hint: usize,
        body: impl FnOnce(&mut BytesMut),
    ) -> Option<Entries> {
        let size = FRAME_HEAD + hint + FRAME_TAIL;
        let mut before = None;
        if self.buffer.capacity() - self.buffer.len() < size {
            before = self.take();
            self.buffer = BytesMut::with_capacity(size.max(BUFFER_BYTES));
        }
        put_frame(&mut self.buffer, PacketType::Proposal, zxid, body);
        self.count += 1;
        before
    }

    /// Takes the encoded proposals.
    pub(super) fn take(&mut self) -> Option<Entries> {
        let count = core::mem::take(&mut self.count);
        (count > 0).then(|| Entries::of_frames(self.buffer.split().freeze(), count))
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;
    use crate::wire::quorum::{Packets, QuorumPacket};

    #[test]
    fn proposals_are_encoded_once_for_log_and_wire() {
        let mut buffer = ProposalBuffer::default();
        let body = |n: i64| alloc::format!("transaction {n}");
        let mut batches = alloc::vec::Vec::new();
        for n in 1..=3000 {
            let zxid = Zxid(0x1_0000_0000 + n);
            let text = if n == 9 { "x".repeat(70_000) } else { body(n) };
            batches.extend(buffer.encode(zxid, text.len(), |out| out.put_slice(text.as_bytes())));
        }
        batches.extend(buffer.take());
        assert_eq!(buffer.take(), None);
        let lengths: alloc::vec::Vec<usize> = batches.iter().map(Entries::len).collect();
        assert_eq!((lengths.iter().sum(), lengths[0], lengths[1]), (3000, 8, 1), "{lengths:?}");
        let mut n = 0;
        for mut batch in batches {
            for (zxid, bytes) in batch.clone().iter() {
                n += 1;
                assert_eq!(zxid, Zxid(0x1_0000_0000 + n));
                assert!(n == 9 || *bytes == *body(n).as_bytes());
            }
            let packets = Packets::take(&mut batch.frames().clone(), 80_000).unwrap().unwrap();
            let kind = PacketType::Proposal;
            assert_eq!(packets, Packets::Entries { kind, entries: batch.clone() });
            let first = batch.split_to(1).unwrap_or(batch);
            let packet = QuorumPacket::parse(first.frames(), 80_000).unwrap().unwrap().0;
            assert_eq!(
                (packet.zxid, packet.data),
                (first.first(), first.each().next().map(|e| e.body))
            );
        }
    }
}
