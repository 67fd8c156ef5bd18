//! Requests as bytes, made once: when one is sent, its number is put in, and the name of a new
//! node.

use bytes::{BufMut, Bytes, BytesMut};
use zabkeeper_core::types::{SessionId, Zxid};
use zabkeeper_core::wire::client::{
    Acl, ConnectRequest, CreateRequest, DeleteRequest, Id, SetDataRequest, WatchedRequest, perms,
};
use zabkeeper_core::wire::{OpCode, Record};

/// Digits of a new node's name.
const DIGITS: usize = 10;
/// Where a path begins: after the frame's length, xid, operation, and the path's length.
const PATH_AT: usize = 16;

/// A frame but for its xid and, where its path has a `#`, the digits of a number.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    /// Of the digits, the first one first.
    digits_at: Vec<usize>,
}

impl Template {
    fn new(op: OpCode, path: &str, body: &impl Record) -> Template {
        let bytes = frame(|out| {
            out.put_i32(0);
            out.put_i32(op as i32);
            body.write(out);
        });
        let digits = path.bytes().enumerate().filter(|(_, byte)| *byte == b'#');
        Template { bytes, digits_at: digits.map(|(at, _)| PATH_AT + at).collect() }
    }

    /// getData.
    pub(crate) fn get(path: &str, watch: bool) -> Template {
        Template::new(OpCode::GetData, path, &WatchedRequest { path: path.into(), watch })
    }

    /// setData, whatever the version.
    pub(crate) fn set(path: &str, bytes: usize) -> Template {
        let request = SetDataRequest { path: path.into(), data: Some(data(bytes)), version: -1 };
        Template::new(OpCode::SetData, path, &request)
    }

    /// create of just this node.
    pub(crate) fn create(path: &str, bytes: usize) -> Template {
        let anyone = Id { scheme: "world".into(), id: "anyone".into() };
        let acl = vec![Acl { perms: perms::ALL, id: anyone }];
        let request = CreateRequest { path: path.into(), data: Some(data(bytes)), acl, flags: 0 };
        Template::new(OpCode::Create, path, &request)
    }

    /// create of numbered nodes below this one.
    pub(crate) fn create_below(parent: &str, bytes: usize) -> Template {
        Template::create(&numbered(parent), bytes)
    }

    /// delete, whatever the version.
    pub(crate) fn delete(path: &str) -> Template {
        Template::new(OpCode::Delete, path, &DeleteRequest { path: path.into(), version: -1 })
    }

    /// delete of those that [`Template::create_below`] creates.
    pub(crate) fn delete_below(parent: &str) -> Template {
        Template::delete(&numbered(parent))
    }

    /// closeSession.
    pub(crate) fn close() -> Template {
        let bytes = frame(|out| {
            out.put_i32(0);
            out.put_i32(OpCode::CloseSession as i32);
        });
        Template { bytes, digits_at: Vec::new() }
    }

    /// Appends it as request `xid`, with the number's last digits where digits go.
    pub(crate) fn append(&self, out: &mut Vec<u8>, xid: i32, number: u64) {
        let at = out.len();
        out.extend_from_slice(&self.bytes);
        out[at + 4..at + 8].copy_from_slice(&xid.to_be_bytes());
        let mut rest = number;
        for digit in self.digits_at.iter().rev() {
            out[at + digit] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
}

/// The first packet of a connection: for a new session (id 0), or one of old.
pub(crate) fn connect(session: i64, password: &[u8; 16], timeout_ms: i32) -> Vec<u8> {
    let request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid::ZERO,
        timeout_ms,
        session: SessionId(session),
        password: Some(Bytes::copy_from_slice(password)),
        read_only: Some(false),
    };
    frame(|out| request.write(out))
}

fn frame(body: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.put_i32(0);
    body(&mut out);
    let length = (out.len() - 4) as i32;
    out[..4].copy_from_slice(&length.to_be_bytes());
    out.to_vec()
}

fn numbered(parent: &str) -> String {
    format!("{parent}/{}", "#".repeat(DIGITS))
}

fn data(bytes: usize) -> Bytes {
    Bytes::from(vec![b'x'; bytes])
}

#[cfg(test)]
mod tests {
    use zabkeeper_core::wire::Reader;
    use zabkeeper_core::wire::client::RequestHeader;

    use super::*;

    #[test]
    fn a_create_is_sent_with_its_number_and_its_nodes_name() {
        let mut out = vec![b'?'; 3];
        Template::create_below("/load/s1", 5).append(&mut out, 42, 1_234_567_890);
        let length = i32::from_be_bytes(out[3..7].try_into().expect("four bytes"));
        assert_eq!(length as usize, out.len() - 7);
        let bytes = Bytes::copy_from_slice(&out[7..]);
        let r = &mut Reader::new(&bytes);
        let header: RequestHeader = r.record().expect("a header");
        assert_eq!((header.xid, header.op), (42, OpCode::Create as i32));
        let create: CreateRequest = r.record().expect("a create");
        assert_eq!(create.path, "/load/s1/1234567890");
        assert_eq!(create.data.map(|d| d.len()), Some(5));
        assert!(r.is_empty());
    }

    #[test]
    fn digits_go_where_the_path_has_room_for_them() {
        let mut out = Vec::new();
        Template::delete("/tree/####/0###").append(&mut out, 1, 8_882_034_567);
        let path = &out[PATH_AT..out.len() - 4];
        assert_eq!(path, b"/tree/2034/0567");
    }
}
