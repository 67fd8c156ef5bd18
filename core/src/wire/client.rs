//! The records of the client port, by operation (`zookeeper.jute`, module `proto`).

use alloc::vec::Vec;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use super::jute::{Malformed, Reader, Record, Writer, records};
use crate::types::{SessionId, Zxid};

/// Permission bits of an ACL entry.
pub mod perms {
    /// Read data and children.
    pub const READ: i32 = 1;
    /// Set data.
    pub const WRITE: i32 = 2;
    /// Create a child.
    pub const CREATE: i32 = 4;
    /// Delete a child.
    pub const DELETE: i32 = 8;
    /// Set the ACL.
    pub const ADMIN: i32 = 16;
    /// All of them.
    pub const ALL: i32 = 31;
}

/// xid of a watch event.
pub const XID_EVENT: i32 = -1;
/// xid of a ping and its reply.
pub const XID_PING: i32 = -2;
/// xid of an auth packet.
pub const XID_AUTH: i32 = -4;
/// xid of setWatches.
pub const XID_SET_WATCHES: i32 = -8;

records! {
    /// Who: a scheme and an id in it.
    Id {
        /// `world`, `digest`, `ip`, …
        scheme: ByteString,
        /// The id in the form of the scheme.
        id: ByteString,
    }
    /// One entry of an ACL.
    Acl {
        /// [`perms`] bits.
        perms: i32,
        /// The id that has them.
        id: Id,
    }
    /// The public part of a node's stat (68 bytes).
    Stat {
        /// Created by.
        czxid: Zxid,
        /// Modified by.
        mzxid: Zxid,
        /// Created at, ms since 1970.
        ctime: i64,
        /// Modified at, ms since 1970.
        mtime: i64,
        /// Data changes.
        version: i32,
        /// Child changes (`2·stored − children`).
        cversion: i32,
        /// ACL changes.
        aversion: i32,
        /// Owning session, 0 if not an ordinary ephemeral.
        ephemeral_owner: i64,
        /// Bytes of data; 0 for null.
        data_length: i32,
        /// Children.
        num_children: i32,
        /// Last child created or deleted by.
        pzxid: Zxid,
    }
    /// Precedes every request.
    RequestHeader {
        /// The client's number for it.
        xid: i32,
        /// The operation.
        op: i32,
    }
    /// Precedes every reply.
    ReplyHeader {
        /// The request's number.
        xid: i32,
        /// The server's last processed zxid.
        zxid: Zxid,
        /// [`super::ErrorCode`] as a number.
        err: i32,
    }
    /// create, create2, createContainer.
    CreateRequest {
        path: ByteString,
        data: Option<Bytes>,
        acl: Vec<Acl>,
        /// 0 persistent, 1 ephemeral, 2 sequential, 3 both, 4 container.
        flags: i32,
    }
    /// createTTL.
    CreateTtlRequest {
        path: ByteString,
        data: Option<Bytes>,
        acl: Vec<Acl>,
        /// 5 TTL, 6 TTL sequential.
        flags: i32,
        /// Milliseconds.
        ttl: i64,
    }
    /// create2 and its kin answer this.
    Create2Response {
        /// The path made, sequence number included.
        path: ByteString,
        /// Its stat.
        stat: Stat,
    }
    /// delete.
    DeleteRequest {
        path: ByteString,
        /// Expected version or -1.
        version: i32,
    }
    /// A request that is a path alone: getACL, sync, deleteContainer, getAllChildrenNumber.
    PathRequest {
        path: ByteString,
    }
    /// exists, getData, getChildren, getChildren2.
    WatchedRequest {
        path: ByteString,
        /// Leave a watch.
        watch: bool,
    }
    /// getData answers this.
    GetDataResponse {
        data: Option<Bytes>,
        stat: Stat,
    }
    /// setData.
    SetDataRequest {
        path: ByteString,
        data: Option<Bytes>,
        /// Expected version or -1.
        version: i32,
    }
    /// getACL answers this.
    GetAclResponse {
        acl: Vec<Acl>,
        stat: Stat,
    }
    /// setACL.
    SetAclRequest {
        path: ByteString,
        acl: Vec<Acl>,
        /// Expected aversion or -1.
        version: i32,
    }
    /// check, inside multi.
    CheckRequest {
        path: ByteString,
        /// Expected version or -1.
        version: i32,
    }
    /// auth.
    AuthPacket {
        /// Ignored.
        kind: i32,
        scheme: ByteString,
        /// The credentials, in the form of the scheme.
        auth: Option<Bytes>,
    }
    /// setWatches.
    SetWatches {
        /// The client's last zxid.
        relative_zxid: Zxid,
        /// getData watches.
        data: Vec<ByteString>,
        /// exists watches on missing nodes.
        exist: Vec<ByteString>,
        /// getChildren watches.
        child: Vec<ByteString>,
    }
    /// setWatches2.
    SetWatches2 {
        /// The client's last zxid.
        relative_zxid: Zxid,
        /// getData watches.
        data: Vec<ByteString>,
        /// exists watches on missing nodes.
        exist: Vec<ByteString>,
        /// getChildren watches.
        child: Vec<ByteString>,
        /// Persistent watches.
        persistent: Vec<ByteString>,
        /// Persistent recursive watches.
        recursive: Vec<ByteString>,
    }
    /// addWatch.
    AddWatchRequest {
        path: ByteString,
        /// [`super::AddWatchMode`] as a number.
        mode: i32,
    }
    /// checkWatches, removeWatches.
    WatcherRequest {
        path: ByteString,
        /// [`super::WatcherType`] as a number.
        kind: i32,
    }
    /// reconfig.
    ReconfigRequest {
        /// `server.N=...`, parted by commas.
        joining: Option<ByteString>,
        /// Ids, parted by commas.
        leaving: Option<ByteString>,
        /// All members, instead of the two above.
        members: Option<ByteString>,
        /// Which configuration it is meant for; -1: whichever there is.
        from: i64,
    }
    /// A watch event.
    WatcherEvent {
        /// [`super::EventType`].
        kind: i32,
        /// Always 3, SyncConnected.
        state: i32,
        path: ByteString,
    }
    /// Separates the operations of a multi.
    MultiHeader {
        /// Operation, or -1 at the end and for an error result.
        op: i32,
        /// Whether this is the end.
        done: bool,
        /// Error code, -1 in requests.
        err: i32,
    }
}

/// The first packet of a client. The last byte is missing from clients of 3.3 and older.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectRequest {
    /// Ignored.
    pub protocol_version: i32,
    /// The newest zxid that this client has seen.
    pub last_zxid_seen: Zxid,
    /// Wanted, ms.
    pub timeout_ms: i32,
    /// 0 for a new session.
    pub session: SessionId,
    /// 16 bytes for a session of old.
    pub password: Option<Bytes>,
    /// Whether a read-only server will do; `None` from old clients.
    pub read_only: Option<bool>,
}

impl Record for ConnectRequest {
    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(ConnectRequest {
            protocol_version: r.int()?,
            last_zxid_seen: r.record()?,
            timeout_ms: r.int()?,
            session: r.record()?,
            password: r.buffer()?,
            read_only: if r.is_empty() { None } else { Some(r.boolean()?) },
        })
    }
    fn write(&self, out: &mut BytesMut) {
        out.put_i32(self.protocol_version);
        self.last_zxid_seen.write(out);
        out.put_i32(self.timeout_ms);
        self.session.write(out);
        out.put_buffer(self.password.as_deref());
        if let Some(read_only) = self.read_only {
            out.put_boolean(read_only);
        }
    }
}

/// The answer to [`ConnectRequest`]; a time-out of 0 says that the session is gone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectResponse {
    /// 0.
    pub protocol_version: i32,
    /// Negotiated, ms.
    pub timeout_ms: i32,
    /// The session.
    pub session: SessionId,
    /// Its password, 16 bytes.
    pub password: Option<Bytes>,
    /// Present only if the request had the byte.
    pub read_only: Option<bool>,
}

impl Record for ConnectResponse {
    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(ConnectResponse {
            protocol_version: r.int()?,
            timeout_ms: r.int()?,
            session: r.record()?,
            password: r.buffer()?,
            read_only: if r.is_empty() { None } else { Some(r.boolean()?) },
        })
    }
    fn write(&self, out: &mut BytesMut) {
        out.put_i32(self.protocol_version);
        out.put_i32(self.timeout_ms);
        self.session.write(out);
        out.put_buffer(self.password.as_deref());
        if let Some(read_only) = self.read_only {
            out.put_boolean(read_only);
        }
    }
}
