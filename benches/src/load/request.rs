//! Requests as bytes, made once: when one is sent, its number is put in, and the name of a new node.

use bytes::{BufMut, Bytes, BytesMut};
use zabkeeper_core::types::{SessionId, Zxid};
use zabkeeper_core::wire::client::{
    Acl, ConnectRequest, CreateRequest, Id, SetDataRequest, WatchedRequest, perms,
};
use zabkeeper_core::wire::{OpCode, Record};

/// Digits of a new node's name.
const DIGITS: usize = 10;

/// A frame but for its xid and, if it names a new node, the name's digits.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    digits_at: Option<usize>,
}

impl Template {
    fn new(op: OpCode, body: &impl Record) -> Template {
        let bytes = frame(|out| {
            out.put_i32(0);
            out.put_i32(op as i32);
            body.write(out);
        });
        Template { bytes, digits_at: None }
    }

    /// getData.
    pub(crate) fn get(path: &str, watch: bool) -> Template {
        Template::new(OpCode::GetData, &WatchedRequest { path: path.into(), watch })
    }

    /// setData, whatever the version.
    pub(crate) fn set(path: &str, bytes: usize) -> Template {
        let request = SetDataRequest { path: path.into(), data: Some(data(bytes)), version: -1 };
        Template::new(OpCode::SetData, &request)
    }

    /// create of just this node.
    pub(crate) fn create(path: &str, bytes: usize) -> Template {
        let anyone = Id { scheme: "world".into(), id: "anyone".into() };
        let acl = vec![Acl { perms: perms::ALL, id: anyone }];
        let request = CreateRequest { path: path.into(), data: Some(data(bytes)), acl, flags: 0 };
        Template::new(OpCode::Create, &request)
    }

    /// create of numbered nodes below this one.
    pub(crate) fn create_below(parent: &str, bytes: usize) -> Template {
        let mut template = Template::create(&format!("{parent}/{}", "0".repeat(DIGITS)), bytes);
        // Length, xid, operation, length of the path.
        template.digits_at = Some(16 + parent.len() + 1);
        template
    }

    /// closeSession.
    pub(crate) fn close() -> Template {
        let bytes = frame(|out| {
            out.put_i32(0);
            out.put_i32(OpCode::CloseSession as i32);
        });
        Template { bytes, digits_at: None }
    }

    /// Appends it as request `xid`; `number` names a new node.
    pub(crate) fn append(&self, out: &mut Vec<u8>, xid: i32, number: u64) {
        let at = out.len();
        out.extend_from_slice(&self.bytes);
        out[at + 4..at + 8].copy_from_slice(&xid.to_be_bytes());
        if let Some(digits_at) = self.digits_at {
            let mut rest = number;
            for digit in out[at + digits_at..at + digits_at + DIGITS].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
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
}
