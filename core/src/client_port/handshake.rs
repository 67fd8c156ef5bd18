//! How a connection gets its session (`ZooKeeperServer.processConnectRequest`,
//! `finishSessionInit`).

use bytes::Bytes;
use tracing::{debug, info};

use super::connection::Phase;
use super::handover::Handover;
use super::throttle::Throttle;
use super::{ClientPort, ClientRequest, ServiceMode};
use crate::action::{Actions, Reason};
use crate::mutant::mutant;
use crate::session::{password, password_is};
use crate::store::Store;
use crate::types::{ConnId, Now, SessionId, Time};
use crate::wire::client::{ConnectRequest, ConnectResponse};
use crate::wire::{ErrorCode, Record};

impl ClientPort {
    /// The handshake (`ZooKeeperServer.processConnectRequest`).
    pub(super) fn connect(
        &mut self,
        now: Time,
        store: &Store,
        conn: ConnId,
        frame: &Bytes,
        out: &mut Actions,
    ) {
        let Ok(request) = ConnectRequest::from_bytes(frame) else {
            return self.close(conn, Reason::Protocol("malformed connect request"), out);
        };
        let fresh = request.session == SessionId(0);
        if let Some(throttle) = &mut self.throttle
            && !(if fresh {
                throttle.admits_new(now, self.options.local_sessions)
            } else {
                throttle.admits_again(now)
            })
        {
            self.stats.connections_rejected.add(1);
            return self.close(conn, Reason::Limit("connections in a while"), out);
        }
        self.stats.connection_requests.add(1);
        self.stats.token_deficit.add(self.throttle.as_ref().map_or(0, Throttle::deficit));
        if request.last_zxid_seen > store.last_zxid() {
            info!(%conn, seen = %request.last_zxid_seen, here = %store.last_zxid(),
                "a client has seen a newer state: it must try another server");
            return self.close(conn, Reason::NotServing, out);
        }
        if self.is_read_only() {
            // Everybody else looks for a server that can do more.
            if request.read_only != Some(true) {
                return self.close(conn, Reason::NotServing, out);
            }
            // The leader knows whether it lives, and there is none.
            if store.session(request.session).is_some() {
                info!(%conn, session = %request.session,
                    "a session cannot be re-attached to a read-only server");
                return self.close(conn, Reason::NotServing, out);
            }
        }
        let (min, max) = (self.options.min_session_timeout_ms, self.options.max_session_timeout_ms);
        let timeout_ms = request.timeout_ms.min(max).max(min);
        let session = if fresh { self.new_id(store) } else { request.session };
        let is_known = fresh || password_is(session, request.password.as_deref());
        if is_known && let Some(old) = self.by_session.get(&session).copied() {
            self.close(old, Reason::Replaced, out);
        }
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.phase = Phase::Establishing;
        connection.asked = now;
        connection.session = session;
        connection.timeout_ms = timeout_ms;
        connection.read_only = request.read_only;
        connection.is_renewed = !fresh;
        if !is_known {
            info!(%conn, %session, "a client gave a wrong session password");
            return self.session_gone(conn, out);
        }
        self.by_session.insert(session, conn);
        self.stats.reattachments.add((!fresh).into());
        self.submissions.push_back(if fresh {
            ClientRequest::CreateSession { session, timeout_ms }
        } else {
            ClientRequest::Reattach { session, timeout_ms }
        });
    }

    /// An id that no session has that this server knows of. Another start of it may have drawn the
    /// same, but by a great chance.
    fn new_id(&mut self, store: &Store) -> SessionId {
        loop {
            let id = self.ids.take();
            let is_taken = store.session(id).is_some() || self.by_session.contains_key(&id);
            mutant!(SessionIdsRepeat => return id);
            if !is_taken {
                return id;
            }
        }
    }

    /// A session begins, without a transaction.
    pub(crate) fn began(&mut self, now: Now, store: &Store, session: SessionId, out: &mut Actions) {
        if let Some(conn) = self.by_session.get(&session).copied() {
            self.made(now, store, conn, false, out);
        }
    }

    /// A session begins, with or without a transaction; one of old goes on without this.
    pub(super) fn made(
        &mut self,
        now: Now,
        store: &Store,
        conn: ConnId,
        by_transaction: bool,
        out: &mut Actions,
    ) {
        if let Some(connection) = self.connections.get_mut(&conn)
            && connection.phase == Phase::Establishing
        {
            connection.session_made(&mut self.stats, now.mono, store.last_zxid(), by_transaction);
        }
        self.established(now, store, conn, out);
    }

    /// A read-only server cannot begin a session that the ensemble would know: this is told in
    /// place of the handshake's answer (`ReadOnlyRequestProcessor.sendErrorResponse`). Nothing
    /// could follow on this connection.
    pub(crate) fn not_begun(&mut self, store: &Store, session: SessionId, out: &mut Actions) {
        let Some(conn) = self.by_session.get(&session).copied() else { return };
        if let Some(connection) = self.connections.get_mut(&conn) {
            let (zxid, code) = (store.last_zxid(), ErrorCode::NotReadOnly);
            connection.reply(&mut self.stats, 0, zxid, code, |_| {});
        }
        self.close(conn, Reason::NotServing, out);
    }

    /// Whether a session of old lives, and where its former requests end.
    pub(crate) fn reattached(
        &mut self,
        now: Now,
        store: &Store,
        session: SessionId,
        handover: Option<Handover>,
        out: &mut Actions,
    ) {
        let Some(conn) = self.by_session.get(&session).copied() else { return };
        if self.connections.get(&conn).is_none_or(|c| c.phase != Phase::Establishing) {
            return;
        }
        if let Some(handover) = handover {
            self.hand_over(conn, handover);
            self.established(now, store, conn, out);
        } else {
            info!(%session, "a client asks for a session that is gone");
            self.session_gone(conn, out);
        }
    }

    pub(super) fn established(&mut self, now: Now, store: &Store, conn: ConnId, out: &mut Actions) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        if connection.phase != Phase::Establishing {
            return;
        }
        connection.phase = Phase::Established;
        connection.figures.established_ms = now.wall_ms;
        let response = ConnectResponse {
            protocol_version: 0,
            timeout_ms: connection.timeout_ms,
            session: connection.session,
            password: Some(Bytes::copy_from_slice(&password(connection.session))),
            read_only: connection.read_only.map(|_| self.service == ServiceMode::ReadOnly),
        };
        connection.frame(|out| response.write(out));
        self.stats.packets_sent.add(1);
        self.dirty.push(conn);
        debug!(%conn, session = %connection.session, timeout_ms = connection.timeout_ms, "session established");
        self.pump(now, store, conn, out);
        self.resume(now, store, conn, out);
    }

    /// Tells a client that its session is no more.
    pub(super) fn session_gone(&mut self, conn: ConnId, out: &mut Actions) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            let response = ConnectResponse {
                protocol_version: 0,
                timeout_ms: 0,
                session: SessionId(0),
                password: Some(Bytes::from_static(&[0; 16])),
                read_only: connection.read_only.map(|_| self.service == ServiceMode::ReadOnly),
            };
            connection.frame(|out| response.write(out));
            self.stats.packets_sent.add(1);
        }
        self.close(conn, Reason::Done, out);
    }
}
