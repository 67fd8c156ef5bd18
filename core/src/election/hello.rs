//! The first words on an election connection: who dials, and where it can be called back
//! (`QuorumCnxManager.InitialMessage`).

use alloc::string::ToString;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::action::Reason;
use crate::types::{HostPort, ServerId};

/// `int64` that opens a hello: protocol version 1.
const PROTOCOL_V1: i64 = -65536;
/// Version 2: several addresses, joined by `|`.
const PROTOCOL_V2: i64 = -65535;
/// The longest address text in a hello.
const MAX_ADDRESS: usize = 2048;

/// The first message of the dialling server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Hello {
    pub(super) from: ServerId,
    /// Its first election address that can be dialled, if it gave one.
    pub(super) address: Option<HostPort>,
}

impl Hello {
    /// The version 1 form.
    pub(super) fn encode(&self) -> Bytes {
        let address = self.address.as_ref().map(|a| a.to_string()).unwrap_or_default();
        let mut out = BytesMut::with_capacity(20 + address.len());
        out.put_i64(PROTOCOL_V1);
        out.put_i64(self.from.0);
        out.put_i32(address.len() as i32);
        out.put_slice(address.as_bytes());
        out.freeze()
    }

    /// Takes a whole hello off the front of the buffer; nothing while it is incomplete. The
    /// error says what was wrong.
    pub(super) fn take(buffer: &mut BytesMut) -> Result<Option<Hello>, Reason> {
        let Some(first) = buffer.first_chunk::<8>().map(|b| i64::from_be_bytes(*b)) else {
            return Ok(None);
        };
        if first >= 0 {
            // Before 3.5 the id stood alone.
            buffer.advance(8);
            return Ok(Some(Hello { from: ServerId(first), address: None }));
        }
        if first != PROTOCOL_V1 && first != PROTOCOL_V2 {
            return Err(Reason::Protocol("unknown protocol version in an election hello"));
        }
        let Some(head) = buffer.first_chunk::<20>() else { return Ok(None) };
        let mut rest = &head[8..];
        let from = ServerId(rest.get_i64());
        let said = rest.get_i32();
        let length = usize::try_from(said).unwrap_or(0);
        if length == 0 {
            return Err(Reason::Protocol("impossible address length in an election hello"));
        }
        if length > MAX_ADDRESS {
            let what = "addresses in an election hello beyond the limit for all servers";
            return Err(Reason::TooLong { what, length: said, limit: MAX_ADDRESS });
        }
        if buffer.len() < 20 + length {
            return Ok(None);
        }
        buffer.advance(20);
        let text = buffer.split_to(length);
        let text = core::str::from_utf8(&text)
            .map_err(|_| Reason::Protocol("an address that is no text"))?;
        Ok(Some(Hello { from, address: text.split('|').find_map(address) }))
    }
}

/// An address that can be dialled: wildcards cannot.
fn address(text: &str) -> Option<HostPort> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let address = HostPort::new(host, port);
    (!address.is_wildcard()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(version: i64, id: i64, address: &str) -> BytesMut {
        let mut out = BytesMut::new();
        out.put_i64(version);
        out.put_i64(id);
        out.put_i32(address.len() as i32);
        out.put_slice(address.as_bytes());
        out
    }

    #[test]
    fn all_versions_are_read_however_they_are_cut() {
        let six = Some(HostPort::new("2001:db8::6", 3888));
        let name = Some(HostPort::new("zk-1.example", 3888));
        for (bytes, from, address) in [
            (raw(PROTOCOL_V1, 6, "[2001:db8::6]:3888"), 6, &six),
            (raw(PROTOCOL_V2, 7, "0.0.0.0:3888|zk-1.example:3888|b:1"), 7, &name),
            (raw(PROTOCOL_V1, 8, "0.0.0.0:3888"), 8, &None),
            (raw(PROTOCOL_V1, 9, "no address at all"), 9, &None),
            (BytesMut::from(&11i64.to_be_bytes()[..]), 11, &None),
        ] {
            for cut in 0..bytes.len() {
                let mut part = BytesMut::from(&bytes[..cut]);
                assert_eq!(Hello::take(&mut part), Ok(None), "cut at {cut}");
                assert_eq!(part.len(), cut);
            }
            let mut whole = bytes.clone();
            whole.put_slice(b"rest");
            let hello = Hello { from: ServerId(from), address: address.clone() };
            assert_eq!(Hello::take(&mut whole), Ok(Some(hello)));
            assert_eq!(whole, b"rest"[..]);
        }
    }

    #[test]
    fn impossible_hellos_are_refused() {
        let long = "x".repeat(MAX_ADDRESS + 1);
        let mut negative = raw(PROTOCOL_V1, 1, "x:1");
        negative[16..20].copy_from_slice(&(-1i32).to_be_bytes());
        for mut bad in [
            raw(PROTOCOL_V1, 1, ""),
            raw(PROTOCOL_V1, 1, &long),
            raw(-1, 1, "x:1"),
            raw(-65534, 1, "x:1"),
            negative,
        ] {
            assert!(Hello::take(&mut bad).is_err());
        }
        let mut no_text = raw(PROTOCOL_V1, 1, "xx");
        no_text[20..].copy_from_slice(&[0xff, 0xfe]);
        assert!(Hello::take(&mut no_text).is_err());
    }
}
