//! Clients that the runtime knows by their certificates, and servers without passwords.

use super::*;
use crate::wire::client::AuthPacket;

const ALICE: &str = "CN=alice,O=Example\\, Inc.";

fn x509(access: Access) -> ClientPortOptions {
    ClientPortOptions { access: Access { x509: true, ..access }, ..options() }
}

impl Server {
    /// A client with a certificate of this subject.
    fn known(&mut self, n: u64, subject: &'static str) -> ConnId {
        let conn = self.open(n);
        self.identify(conn, subject);
        self.push(conn, connect(SessionId(0), None));
        assert_eq!(self.brief(conn), ["hello 10000"]);
        conn
    }

    fn identify(&mut self, conn: ConnId, subject: &'static str) {
        self.client_port.identified(conn, subject.into(), &mut self.out);
        self.settle();
    }

    fn ids(&mut self, conn: ConnId) -> Vec<String> {
        self.ask(conn, 1, OpCode::WhoAmI, nothing);
        let [Heard::Reply { err: 0, body, .. }] = &self.hear(conn)[..] else { panic!() };
        let mut r = Reader::new(body);
        let count = r.int().unwrap();
        (0..count).map(|_| format!("{}:{}", r.text().unwrap(), r.text().unwrap())).collect()
    }

    fn code(&mut self, conn: ConnId, op: OpCode, body: impl FnOnce(&mut BytesMut)) -> i32 {
        self.ask(conn, 2, op, body);
        let heard = self.hear(conn);
        let [Heard::Reply { err, .. }] = heard[..] else { panic!("{heard:?}") };
        err
    }
}

fn acl(scheme: &str, id: &str) -> Vec<Acl> {
    Vec::from([Acl { perms: perms::ALL, id: Id { scheme: scheme.into(), id: id.into() } }])
}

fn guarded(path: &str, scheme: &str, id: &str) -> impl FnOnce(&mut BytesMut) + use<> {
    create_with(path, b"", acl(scheme, id), 0)
}

fn auth(scheme: &str) -> Bytes {
    let packet =
        AuthPacket { kind: 0, scheme: scheme.into(), auth: Some(Bytes::from_static(b"me:pw")) };
    request(-4, OpCode::Auth as i32, |out| packet.write(out))
}

#[test]
fn a_certificate_opens_what_its_subject_owns() {
    let mut server = Server::with(x509(Access::default()), 1);
    let (alice, bob) = (server.known(1, ALICE), server.known(2, "CN=bob"));
    assert_eq!(server.ids(alice), ["ip:127.0.0.1".into(), format!("x509:{ALICE}")]);
    assert_eq!(server.code(alice, OpCode::Create, guarded("/mine", "auth", "")), 0);
    assert_eq!(server.code(bob, OpCode::Create, guarded("/hers", "x509", ALICE)), 0);
    for path in ["/mine", "/hers"] {
        assert_eq!(server.code(alice, OpCode::GetData, look(path)), 0, "{path}");
        assert_eq!(server.code(bob, OpCode::GetData, look(path)), -102, "{path}");
        assert_eq!(server.code(bob, OpCode::SetData, set(path, b"x")), -102, "{path}");
    }
    let (path, owner) = (|out: &mut BytesMut| path("/mine")(out), acl("x509", ALICE));
    server.ask(alice, 3, OpCode::GetAcl, path);
    let [Heard::Reply { body, .. }] = &server.hear(alice)[..] else { panic!() };
    assert_eq!(Reader::new(body).record::<Vec<Acl>>(), Ok(owner));
    for wrong in ["alice", "CN=a,", "GN=a"] {
        assert_eq!(server.code(bob, OpCode::Create, guarded("/no", "x509", wrong)), -114);
    }
}

#[test]
fn the_super_users_certificate_opens_everything() {
    let super_user = Some("CN=root".into());
    let access = Access { x509_super_user: super_user, ..Access::default() };
    let mut server = Server::with(x509(access), 1);
    let (root, bob) = (server.known(1, "CN=root"), server.known(2, "CN=bob"));
    assert_eq!(server.ids(root), ["ip:127.0.0.1", "super:", "x509:CN=root"]);
    assert_eq!(server.code(bob, OpCode::Create, guarded("/bobs", "digest", "bob:hash")), 0);
    assert_eq!(server.code(root, OpCode::SetData, set("/bobs", b"x")), 0);
    assert_eq!(server.code(bob, OpCode::SetData, set("/bobs", b"x")), -102);
}

#[test]
fn client_without_a_certificate_cannot_authenticate_as_x509() {
    let mut server = Server::with(x509(Access::default()), 1);
    let with = server.known(1, ALICE);
    server.push(with, auth("x509"));
    assert_eq!(server.brief(with), ["-4:0"]);
    assert_eq!(server.ids(with).len(), 2);
    let (without, _) = server.client(2);
    server.push(without, auth("x509"));
    assert_eq!(server.brief(without), ["-4:-115", "closed"]);
    // Of a connection that is gone nothing is remembered.
    server.identify(without, ALICE);
    assert!(server.hear(without).is_empty());
}

#[test]
fn a_certificate_may_be_what_is_enforced() {
    let enforced = Vec::from(["x509".into()]);
    let options = ClientPortOptions { enforced_schemes: enforced, ..x509(Access::default()) };
    let mut server = Server::with(options, 1);
    let known = server.known(1, ALICE);
    assert_eq!(server.code(known, OpCode::Exists, look("/")), 0);
    let (unknown, _) = server.client(2);
    server.ask(unknown, 1, OpCode::Exists, look("/"));
    assert_eq!(server.brief(unknown), ["1:-124", "closed"]);
}

#[test]
fn where_certificates_say_nothing_who_shows_one_is_sent_away() {
    let mut server = Server::new();
    let conn = server.open(1);
    server.identify(conn, ALICE);
    assert_eq!(server.brief(conn), ["closed"]);
    let (other, _) = server.client(2);
    assert_eq!(server.code(other, OpCode::Create, guarded("/a", "x509", ALICE)), -114);
}

#[test]
fn without_the_scheme_digest_there_are_no_passwords() {
    let access = Access { digest: false, ..Access::default() };
    let mut server = Server::with(ClientPortOptions { access, ..options() }, 1);
    let (conn, _) = server.client(1);
    assert_eq!(server.code(conn, OpCode::Create, create("/a", 0)), 0);
    server.push(conn, auth("digest"));
    assert_eq!(server.brief(conn), ["-4:-115", "closed"]);
    let (conn, _) = server.client(2);
    assert_eq!(server.code(conn, OpCode::Create, guarded("/b", "digest", "a:b")), -114);
}

#[test]
fn where_no_acl_is_checked_writes_are_free_too() {
    let access = Access { skip_acl: true, ..Access::default() };
    let mut server = Server::with(ClientPortOptions { access, ..options() }, 1);
    let (conn, _) = server.client(1);
    assert_eq!(server.code(conn, OpCode::Create, guarded("/a", "digest", "a:b")), 0);
    assert_eq!(server.code(conn, OpCode::GetData, look("/a")), 0);
    assert_eq!(server.code(conn, OpCode::SetData, set("/a", b"x")), 0);
    assert_eq!(server.code(conn, OpCode::Delete, versioned("/a")), 0);
}
