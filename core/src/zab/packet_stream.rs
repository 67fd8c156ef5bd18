//! The two directions of a connection of the quorum port: a reader that cuts bytes into packets,
//! and a buffer that gathers the packets of a step into one send.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::action::{Action, Actions};
use crate::types::{ConnId, Zxid};
use crate::wire::jute::Malformed;
use crate::wire::quorum::{
    BARE_BYTES, PacketType, Packets, QuorumPacket, frame_head, put_bare, put_frame,
};

/// Frames below this size, bytes, are copied into the outbound buffer. Larger ones are shared.
const COPY_BELOW: usize = 1024;
/// The allocation for gathered packets, bytes. Many sends share it.
const GATHER_BYTES: usize = 32 << 10;

/// Cuts a stream into packets. Packets that arrive whole are not copied.
#[derive(Debug, Default)]
pub(super) struct PacketReader {
    partial: BytesMut,
    whole: Bytes,
}

impl PacketReader {
    pub(super) fn push(&mut self, bytes: Bytes) {
        if self.partial.is_empty() && self.whole.is_empty() {
            self.whole = bytes;
        } else {
            if !self.whole.is_empty() {
                self.partial.extend_from_slice(&core::mem::take(&mut self.whole));
            }
            self.partial.extend_from_slice(&bytes);
        }
    }

    pub(super) fn next(&mut self, limit: usize) -> Result<Option<Packets>, Malformed> {
        if !self.partial.is_empty() {
            if QuorumPacket::measure(&self.partial, limit)?.is_none() {
                return Ok(None);
            }
            self.whole = core::mem::take(&mut self.partial).freeze();
        }
        if self.whole.is_empty() {
            return Ok(None);
        }
        Packets::take(&mut self.whole, limit)
    }

    /// Takes all bytes that are not read yet, because a snapshot begins in the stream.
    pub(super) fn take_rest(&mut self) -> Bytes {
        if self.partial.is_empty() {
            core::mem::take(&mut self.whole)
        } else {
            core::mem::take(&mut self.partial).freeze()
        }
    }
}

/// Gathers packets for one connection. While a snapshot or a part of the log is streamed, later
/// packets are deferred until its end.
#[derive(Debug)]
pub(super) struct Outbound {
    conn: ConnId,
    gathered: BytesMut,
    /// Gathered packets whose allocation is full.
    full: alloc::vec::Vec<Bytes>,
    /// Deferred frames and gathered bytes, in order.
    deferred: alloc::vec::Vec<Bytes>,
    deferred_bytes: usize,
    pub(super) deferring: bool,
}

impl Outbound {
    pub(super) fn new(conn: ConnId) -> Outbound {
        let (full, deferred) = (alloc::vec::Vec::new(), alloc::vec::Vec::new());
        Outbound {
            conn,
            gathered: BytesMut::new(),
            full,
            deferred,
            deferred_bytes: 0,
            deferring: false,
        }
    }

    /// The buffer, with space for this many bytes. Bytes in it are not moved.
    fn reserve(&mut self, bytes: usize) -> &mut BytesMut {
        let is_full = self.gathered.capacity() - self.gathered.len() < bytes;
        // Earlier sends may be done, which frees their space.
        if is_full && !(self.gathered.is_empty() && self.gathered.try_reclaim(bytes)) {
            let buffer = BytesMut::with_capacity(GATHER_BYTES.max(bytes));
            let full = core::mem::replace(&mut self.gathered, buffer);
            if !full.is_empty() {
                self.full.push(full.freeze());
            }
        }
        &mut self.gathered
    }

    pub(super) fn header_only(&mut self, kind: PacketType, zxid: Zxid) {
        put_bare(self.reserve(BARE_BYTES), kind, zxid);
    }

    /// Packets without payload, of `count` consecutive zxids.
    pub(super) fn header_only_run(&mut self, kind: PacketType, first: Zxid, count: usize) {
        let buffer = self.reserve(BARE_BYTES * count);
        for n in 0..count {
            put_bare(buffer, kind, Zxid(first.0.wrapping_add(n as i64)));
        }
    }

    pub(super) fn packet(&mut self, packet: &QuorumPacket) {
        let payload = packet.data.as_ref().map_or(0, Bytes::len);
        packet.write(self.reserve(BARE_BYTES + payload));
    }

    /// Packets that other learners are sent, too.
    pub(super) fn send_shared(&mut self, packets: &Bytes, out: &mut Actions) {
        if packets.len() < COPY_BELOW && !self.gathered.is_empty() {
            self.reserve(packets.len()).put_slice(packets);
        } else {
            self.flush(out);
            self.emit(packets.clone(), out);
        }
    }

    /// A PROPOSAL or INFORM around the payload of a log entry, which stays shared if it is large.
    pub(super) fn framed(&mut self, kind: PacketType, zxid: Zxid, body: &Bytes, out: &mut Actions) {
        if body.len() < COPY_BELOW {
            let buffer = self.reserve(BARE_BYTES + body.len());
            put_frame(buffer, kind, zxid, |buffer| buffer.put_slice(body));
        } else {
            self.reserve(BARE_BYTES).put_slice(&frame_head(kind, zxid, body.len() as i32));
            self.flush(out);
            self.emit(body.clone(), out);
            self.reserve(BARE_BYTES).put_i32(-1);
        }
    }

    /// Ends a step: sends the gathered packets.
    pub(super) fn flush(&mut self, out: &mut Actions) {
        if !self.full.is_empty() {
            for bytes in core::mem::take(&mut self.full) {
                self.emit(bytes, out);
            }
        }
        if !self.gathered.is_empty() {
            let bytes = self.gathered.split().freeze();
            self.emit(bytes, out);
        }
    }

    /// Sends a part of the stream itself, past the deferred packets.
    pub(super) fn stream(&mut self, bytes: Bytes, out: &mut Actions) {
        out.push(Action::Send { conn: self.conn, bytes });
    }

    /// The stream has ended: sends the deferred packets.
    pub(super) fn release(&mut self, out: &mut Actions) {
        self.flush(out);
        self.deferring = false;
        self.deferred_bytes = 0;
        for bytes in self.deferred.drain(..) {
            out.push(Action::Send { conn: self.conn, bytes });
        }
    }

    /// Drops the deferred packets, because the synchronisation begins again.
    pub(super) fn discard_deferred(&mut self) {
        self.gathered.clear();
        self.full.clear();
        self.deferred.clear();
        self.deferred_bytes = 0;
    }

    /// The size of the deferred packets, bytes.
    pub(super) fn deferred_bytes(&self) -> usize {
        self.deferred_bytes
    }

    fn emit(&mut self, bytes: Bytes, out: &mut Actions) {
        if self.deferring {
            self.deferred_bytes += bytes.remaining();
            self.deferred.push(bytes);
        } else {
            out.push(Action::Send { conn: self.conn, bytes });
        }
    }
}
