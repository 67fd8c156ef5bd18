//! Identities of a connection: certificates, auth packets, SASL tokens without a SASL
//! configuration, and connections that have to authenticate first.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use tracing::info;

use super::ClientPort;
use super::connection::Connection;
use crate::action::{Actions, Reason};
use crate::budget::Work;
use crate::types::{ConnId, Zxid};
use crate::wire::ErrorCode;
use crate::wire::client::Id;
use crate::wire::jute::{Reader, Writer};

/// Ids that one connection may gather.
const MAX_IDS: usize = 64;
/// And their bytes, all together: they go to the leader with each of its writes.
const MAX_ID_BYTES: usize = 64 << 10;

/// Why a connection goes whose ids would be longer.
const LONG_IDS: &str = "the ids of a connection are longer than 64 KiB together";

/// The ids of a connection would be too long.
struct TooLong;

impl Connection {
    /// Adds ids that are not there yet.
    fn gather(&mut self, new: Vec<Id>) -> Result<(), TooLong> {
        let mut all = self.auth.to_vec();
        let mut bytes = self.id_bytes;
        for id in new {
            if !all.contains(&id) && all.len() < MAX_IDS {
                bytes += id.scheme.len() + id.id.len();
                all.push(id);
            }
        }
        if bytes > MAX_ID_BYTES {
            return Err(TooLong);
        }
        (self.auth, self.id_bytes) = (Arc::from(all), bytes);
        Ok(())
    }
}

impl ClientPort {
    /// The identity of a client, which its runtime verified before the first byte of the protocol:
    /// the subject of its certificate, spelled by RFC 2253 as Java's
    /// `X500Principal.getName` does.
    ///
    /// The connection is closed where certificates say nothing (`authProvider.NAME` in the
    /// configuration), as ZooKeeper closes it.
    pub(crate) fn identified(&mut self, conn: ConnId, subject: ByteString, out: &mut Actions) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        match self.options.access.identify(subject) {
            Some(ids) => {
                if connection.gather(ids).is_err() {
                    self.close(conn, Reason::Protocol(LONG_IDS), out);
                }
            }
            None => {
                self.close(conn, Reason::Protocol("a certificate without the scheme x509"), out)
            }
        }
    }

    /// Answered at once, before what is queued.
    pub(super) fn authenticate(&mut self, conn: ConnId, xid: i32, body: &Bytes, out: &mut Actions) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let mut r = Reader::new(body);
        let (Ok(_), Ok(scheme), Ok(data)) = (r.int(), r.ustring(), r.buffer()) else {
            return self.close(conn, Reason::Protocol("malformed auth packet"), out);
        };
        let (access, address) = (&self.options.access, connection.peer.ip());
        let ids = scheme.and_then(|scheme| {
            access.authenticate(&scheme, data.as_deref(), address, &connection.auth)
        });
        self.dirty.push(conn);
        // Both are read through, and the longer ones hashed.
        self.turns.charge(connection, Work { bytes: 2 * body.len(), ..Work::default() });
        let gathered = ids.map(|new| connection.gather(new));
        match gathered {
            Some(Ok(())) => {
                connection.reply(&mut self.stats, xid, Zxid::ZERO, ErrorCode::Ok, |_| {});
            }
            refused => {
                self.stats.auth_failed.add(1);
                let code = ErrorCode::AuthFailed;
                connection.reply(&mut self.stats, xid, Zxid::ZERO, code, |_| {});
                let why = if refused.is_some() { LONG_IDS } else { "failed authentication" };
                self.close(conn, Reason::Protocol(why), out);
            }
        }
    }

    /// Where no SASL is configured, a token is answered with none, at once
    /// (`ZooKeeperServer.processSasl`).
    pub(super) fn sasl(&mut self, conn: ConnId, xid: i32, body: &Bytes, out: &mut Actions) {
        let Ok(Some(_)) = Reader::new(body).buffer() else {
            return self.close(conn, Reason::Protocol("malformed SASL token"), out);
        };
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let no_token = |out: &mut BytesMut| out.put_buffer(None);
        connection.reply(&mut self.stats, xid, Zxid::ZERO, ErrorCode::Ok, no_token);
        self.dirty.push(conn);
    }

    /// None of the schemes that every connection has to authenticate by
    /// (`AuthenticationHelper.enforceAuthentication`).
    pub(super) fn unauthenticated(&mut self, conn: ConnId, xid: i32, out: &mut Actions) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            info!(%conn, peer = %connection.peer, "a client has to authenticate first");
            let code = ErrorCode::SessionClosedRequireSaslAuth;
            connection.reply(&mut self.stats, xid, Zxid::ZERO, code, |_| {});
        }
        self.close(conn, Reason::Protocol("authentication is enforced"), out);
    }
}
