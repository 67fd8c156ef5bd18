//! One connection of the quorum port: packets out of bytes, and the outbound buffer that
//! gathers a step's packets into one send.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::action::{Action, Actions};
use crate::types::{ConnId, Zxid};
use crate::wire::jute::Malformed;
use crate::wire::quorum::{
    BARE_BYTES, PacketType, Packets, QuorumPacket, frame_head, put_bare, put_frame,
};

/// Frames up to this size are copied into the outbound buffer; larger ones are shared.
const COPY_BELOW: usize = 1024;
/// What is allocated at once for packets that are gathered: many sends share it.
const GATHER_BYTES: usize = 32 << 10;

/// Cuts a stream into packets. What arrived whole is not copied.
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

    /// Everything that is not read yet: for the snapshot inside the stream.
    pub(super) fn take_rest(&mut self) -> Bytes {
        if self.partial.is_empty() {
            core::mem::take(&mut self.whole)
        } else {
            core::mem::take(&mut self.partial).freeze()
        }
    }
}

/// Gathers packets for one connection. While a snapshot or a log read is streamed, what comes
/// after it is held back.
#[derive(Debug)]
pub(super) struct Outbound {
    conn: ConnId,
    gathered: BytesMut,
    /// What was gathered before and filled its memory.
    full: alloc::vec::Vec<Bytes>,
    /// Shared frames and gathered bytes that wait for the end of a stream, in order.
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

    /// Where so many bytes are gathered next: what is there already is not moved.
    fn room(&mut self, bytes: usize) -> &mut BytesMut {
        let is_full = self.gathered.capacity() - self.gathered.len() < bytes;
        // What was sent before may be gone by now.
        if is_full && !(self.gathered.is_empty() && self.gathered.try_reclaim(bytes)) {
            let room = BytesMut::with_capacity(GATHER_BYTES.max(bytes));
            let full = core::mem::replace(&mut self.gathered, room);
            if !full.is_empty() {
                self.full.push(full.freeze());
            }
        }
        &mut self.gathered
    }

    pub(super) fn header_only(&mut self, kind: PacketType, zxid: Zxid) {
        put_bare(self.room(BARE_BYTES), kind, zxid);
    }

    /// As many of consecutive zxids.
    pub(super) fn header_only_run(&mut self, kind: PacketType, first: Zxid, count: usize) {
        let room = self.room(BARE_BYTES * count);
        for n in 0..count {
            put_bare(room, kind, Zxid(first.0.wrapping_add(n as i64)));
        }
    }

    pub(super) fn packet(&mut self, packet: &QuorumPacket) {
        let payload = packet.data.as_ref().map_or(0, Bytes::len);
        packet.write(self.room(BARE_BYTES + payload));
    }

    /// Packets that others are sent too.
    pub(super) fn send_shared(&mut self, packets: &Bytes, out: &mut Actions) {
        if packets.len() < COPY_BELOW && !self.gathered.is_empty() {
            self.room(packets.len()).put_slice(packets);
        } else {
            self.flush(out);
            self.emit(packets.clone(), out);
        }
    }

    /// A packet around a payload that is kept elsewhere too: PROPOSAL or INFORM of a log entry.
    pub(super) fn framed(&mut self, kind: PacketType, zxid: Zxid, body: &Bytes, out: &mut Actions) {
        if body.len() < COPY_BELOW {
            let room = self.room(BARE_BYTES + body.len());
            put_frame(room, kind, zxid, |room| room.put_slice(body));
        } else {
            self.room(BARE_BYTES).put_slice(&frame_head(kind, zxid, body.len() as i32));
            self.flush(out);
            self.emit(body.clone(), out);
            self.room(BARE_BYTES).put_i32(-1);
        }
    }

    /// Ends a step: what was gathered goes out as one send.
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

    /// Sends past what is held: a part of the stream itself.
    pub(super) fn stream(&mut self, bytes: Bytes, out: &mut Actions) {
        out.push(Action::Send { conn: self.conn, bytes });
    }

    /// The stream is over: what was held goes out.
    pub(super) fn release(&mut self, out: &mut Actions) {
        self.flush(out);
        self.deferring = false;
        self.deferred_bytes = 0;
        for bytes in self.deferred.drain(..) {
            out.push(Action::Send { conn: self.conn, bytes });
        }
    }

    /// Forgets what is held: another plan takes over.
    pub(super) fn discard_deferred(&mut self) {
        self.gathered.clear();
        self.full.clear();
        self.deferred.clear();
        self.deferred_bytes = 0;
    }

    /// Bytes that wait for the end of a stream.
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
