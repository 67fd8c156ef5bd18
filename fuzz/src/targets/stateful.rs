//! A structured life of one server: connections, requests good and bad, time that goes on and
//! jumps, and a disk that is done when it wants.

use arbitrary::{Arbitrary, Unstructured};
use bytes::{BufMut, Bytes, BytesMut};
use zabkeeper_core::client::{MultiOp, Request};
use zabkeeper_core::event::Port;
use zabkeeper_core::types::{ConnId, SessionId, Zxid};
use zabkeeper_core::wire::client::{
    Acl, AuthPacket, CheckRequest, ConnectRequest, CreateRequest, CreateTtlRequest, DeleteRequest,
    Id, PathRequest, RequestHeader, SetAclRequest, SetDataRequest, SetWatches, WatchedRequest,
};
use zabkeeper_core::wire::{OpCode, Record};

use super::friend::Friend;
use crate::rig::Rig;

/// One thing that happens.
#[derive(Arbitrary, Debug)]
enum Happening {
    Open,
    Connect {
        conn: u8,
        timeout_ms: i32,
        again: Option<u8>,
    },
    Ask {
        conn: u8,
        xid: i32,
        what: Ask,
        cut: Option<u8>,
    },
    Raw {
        conn: u8,
        bytes: Vec<u8>,
    },
    Word {
        conn: u8,
        word: [u8; 4],
    },
    Close {
        conn: u8,
    },
    /// File operations.
    Disk {
        operations: u8,
    },
    Pass {
        ms: u16,
    },
    /// A pause of the whole process.
    Jump {
        seconds: u8,
    },
    Wall {
        ms: i64,
    },
    Tick,
}

#[derive(Arbitrary, Debug)]
enum Ask {
    Ping,
    Close,
    Create {
        path: Path,
        data: Option<u16>,
        flags: u8,
        acl: Access,
    },
    Create2 {
        path: Path,
        flags: u8,
        acl: Access,
    },
    Container {
        path: Path,
    },
    Ttl {
        path: Path,
        sequential: bool,
        ttl: i64,
    },
    Delete {
        path: Path,
        version: i8,
    },
    Set {
        path: Path,
        data: Option<u16>,
        version: i8,
    },
    SetAcl {
        path: Path,
        acl: Access,
        version: i8,
    },
    Get {
        path: Path,
        watch: bool,
    },
    Exists {
        path: Path,
        watch: bool,
    },
    Children {
        path: Path,
        watch: bool,
        stat: bool,
    },
    GetAcl {
        path: Path,
    },
    Sync {
        path: Path,
    },
    Ephemerals {
        path: Path,
    },
    Count {
        path: Path,
    },
    WhoAmI,
    Multi {
        parts: Vec<Part>,
    },
    Auth {
        name: u8,
    },
    SetWatches {
        zxid: i64,
        data: Vec<Path>,
        exist: Vec<Path>,
        child: Vec<Path>,
    },
    /// The operation's number, and what may be its record.
    Other {
        op: i32,
        body: Vec<u8>,
    },
}

#[derive(Arbitrary, Debug)]
enum Part {
    Create { path: Path, flags: u8 },
    Delete { path: Path },
    Set { path: Path, version: i8 },
    Check { path: Path, version: i8 },
}

/// A few nodes, so that requests meet.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Path {
    A,
    Ab,
    Abc,
    B,
    Root,
    Quota,
    Friend,
    Kept,
    Broken,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Access {
    Open,
    ReadOnly,
    Mine,
    Nobody,
    Broken,
}

impl Path {
    fn text(self) -> &'static str {
        match self {
            Path::A => "/a",
            Path::Ab => "/a/b",
            Path::Abc => "/a/b/c",
            Path::B => "/b",
            Path::Root => "/",
            Path::Quota => "/zookeeper/quota/a",
            Path::Friend => "/friend",
            Path::Kept => "/friend/kept",
            Path::Broken => "/a//./b/",
        }
    }
}

impl Access {
    fn list(self) -> Vec<Acl> {
        let acl = |perms, scheme: &str, id: &str| {
            vec![Acl { perms, id: Id { scheme: scheme.into(), id: id.into() } }]
        };
        match self {
            Access::Open => acl(31, "world", "anyone"),
            Access::ReadOnly => acl(1, "world", "anyone"),
            Access::Mine => acl(31, "auth", ""),
            Access::Nobody => acl(31, "digest", "nobody:AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            Access::Broken => acl(-1, "no such scheme", "\u{fffd}"),
        }
    }
}

/// A standalone server lives through it; a well-behaved client is served afterwards, and
/// neither a restart nor a power failure loses what was shown.
pub fn node_events(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let mut rig = Rig::standalone();
    let mut friend = Friend::with_a_node(&mut rig);
    let mut conns: Vec<ConnId> = Vec::new();
    for _ in 0..256 {
        if input.is_empty() || rig.halted.is_some() {
            break;
        }
        let Ok(happening) = Happening::arbitrary(&mut input) else { break };
        happen(&mut rig, &mut conns, happening);
    }
    assert_eq!(rig.halted, None, "nothing a client does stops a server");
    if data.len() & 1 == 1 {
        return rig.loses_nothing_at_a_power_failure(data.len() as u64);
    }
    rig.settle();
    friend = friend.comes_anew(&mut rig);
    friend.is_served(&mut rig);
    for conn in conns {
        rig.closed(conn);
    }
    // All sessions have time to expire.
    rig.pass(61_000);
    assert_eq!(rig.node.store().ephemeral_count(), 0, "no ephemeral outlives its session");
    friend.comes_anew(&mut rig).is_served(&mut rig);
    rig.restarts_with_the_same_state();
}

fn happen(rig: &mut Rig, conns: &mut Vec<ConnId>, happening: Happening) {
    let chosen = |n: u8| conns.get(usize::from(n) % conns.len().max(1)).copied();
    match happening {
        Happening::Open => {
            // One address may have sixty (maxClientCnxns); the friend needs one.
            if conns.len() < 50 {
                conns.push(rig.accept(Port::Client));
            }
        }
        Happening::Connect { conn, timeout_ms, again } => {
            let session = match again {
                // Somebody else's session, if it is there.
                Some(n) => {
                    let mut all = rig.node.store().sessions().map(|(id, _)| id);
                    all.nth(n.into()).unwrap_or(SessionId(i64::from(n) << 56))
                }
                None => SessionId(0),
            };
            let request = ConnectRequest {
                protocol_version: 0,
                last_zxid_seen: Zxid(0),
                timeout_ms,
                session,
                password: Some(Bytes::from_static(&[0; 16])),
                read_only: Some(false),
            };
            if let Some(conn) = chosen(conn) {
                rig.receive(conn, frame(|out| request.write(out)));
            }
        }
        Happening::Ask { conn, xid, what, cut } => {
            let Some(conn) = chosen(conn) else { return };
            let bytes = frame(|out| what.write(xid, out));
            let at = cut.map_or(bytes.len(), |cut| usize::from(cut) % bytes.len());
            rig.receive(conn, bytes.slice(..at));
            rig.receive(conn, bytes.slice(at..));
        }
        Happening::Raw { conn, bytes } => {
            if let Some(conn) = chosen(conn) {
                rig.receive(conn, bytes.into());
            }
        }
        Happening::Word { conn, word } => {
            if let Some(conn) = chosen(conn) {
                rig.receive(conn, Bytes::copy_from_slice(&word));
            }
        }
        Happening::Close { conn } => {
            if let Some(conn) = chosen(conn) {
                rig.closed(conn);
            }
        }
        Happening::Disk { operations } => {
            for _ in 0..operations {
                if !rig.disk_operation() {
                    break;
                }
            }
        }
        Happening::Pass { ms } => rig.pass(ms.into()),
        Happening::Jump { seconds } => {
            rig.set_time(rig.now.mono.plus_ms(u64::from(seconds) * 1000));
            rig.pass(0);
        }
        Happening::Wall { ms } => rig.now.wall_ms = rig.now.wall_ms.wrapping_add(ms),
        Happening::Tick => rig.tick(),
    }
}

fn frame(body: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i32(0);
    body(&mut out);
    let length = (out.len() - 4) as i32;
    out[..4].copy_from_slice(&length.to_be_bytes());
    out.freeze()
}

fn bytes_of(length: Option<u16>) -> Option<Bytes> {
    length.map(|n| Bytes::from(vec![b'x'; usize::from(n) % 2048]))
}

impl Ask {
    fn write(self, xid: i32, out: &mut BytesMut) {
        let mut header = |op: OpCode| RequestHeader { xid, op: op as i32 }.write(out);
        let request = match self {
            Ask::Ping => return RequestHeader { xid: -2, op: OpCode::Ping as i32 }.write(out),
            Ask::Close => return header(OpCode::CloseSession),
            Ask::Auth { name } => {
                RequestHeader { xid: -4, op: OpCode::Auth as i32 }.write(out);
                let auth = Some(Bytes::from(vec![name, b':', b'p']));
                return AuthPacket { kind: 0, scheme: "digest".into(), auth }.write(out);
            }
            Ask::SetWatches { zxid, data, exist, child } => {
                RequestHeader { xid: -8, op: OpCode::SetWatches as i32 }.write(out);
                let paths = |all: Vec<Path>| all.into_iter().map(|p| p.text().into()).collect();
                let (data, exist, child) = (paths(data), paths(exist), paths(child));
                return SetWatches { relative_zxid: Zxid(zxid), data, exist, child }.write(out);
            }
            Ask::Other { op, body } => {
                RequestHeader { xid, op: op % 128 }.write(out);
                return out.put_slice(&body);
            }
            Ask::Create { path, data, flags, acl } => {
                Request::Create(create(path, bytes_of(data), flags, acl))
            }
            Ask::Create2 { path, flags, acl } => Request::Create2(create(path, None, flags, acl)),
            Ask::Container { path } => {
                Request::CreateContainer(create(path, None, 4, Access::Open))
            }
            Ask::Ttl { path, sequential, ttl } => {
                let CreateRequest { path, data, acl, .. } = create(path, None, 0, Access::Open);
                let flags = if sequential { 6 } else { 5 };
                Request::CreateTtl(CreateTtlRequest { path, data, acl, flags, ttl })
            }
            Ask::Delete { path, version } => {
                let (path, version) = (path.text().into(), version.into());
                Request::Delete(DeleteRequest { path, version })
            }
            Ask::Set { path, data, version } => {
                Request::SetData(set(path, bytes_of(data), version))
            }
            Ask::SetAcl { path, acl, version } => {
                let (path, version) = (path.text().into(), version.into());
                Request::SetAcl(SetAclRequest { path, acl: acl.list(), version })
            }
            Ask::Get { path, watch } => Request::GetData(watched(path, watch)),
            Ask::Exists { path, watch } => Request::Exists(watched(path, watch)),
            Ask::Children { path, watch, stat: true } => {
                Request::GetChildren2(watched(path, watch))
            }
            Ask::Children { path, watch, stat: false } => {
                Request::GetChildren(watched(path, watch))
            }
            Ask::GetAcl { path } => Request::GetAcl(named(path)),
            Ask::Sync { path } => Request::Sync(named(path)),
            Ask::Ephemerals { path } => Request::GetEphemerals(named(path)),
            Ask::Count { path } => Request::GetAllChildrenNumber(named(path)),
            Ask::WhoAmI => Request::WhoAmI,
            Ask::Multi { parts } => Request::Multi(parts.into_iter().take(16).map(part).collect()),
        };
        header(request.op());
        request.write(out);
    }
}

fn create(path: Path, data: Option<Bytes>, flags: u8, acl: Access) -> CreateRequest {
    CreateRequest { path: path.text().into(), data, acl: acl.list(), flags: i32::from(flags % 8) }
}

fn set(path: Path, data: Option<Bytes>, version: i8) -> SetDataRequest {
    SetDataRequest { path: path.text().into(), data, version: version.into() }
}

fn watched(path: Path, watch: bool) -> WatchedRequest {
    WatchedRequest { path: path.text().into(), watch }
}

fn named(path: Path) -> PathRequest {
    PathRequest { path: path.text().into() }
}

fn part(part: Part) -> MultiOp {
    match part {
        Part::Create { path, flags } => MultiOp::Create(create(path, None, flags, Access::Open)),
        Part::Delete { path } => {
            MultiOp::Delete(DeleteRequest { path: path.text().into(), version: -1 })
        }
        Part::Set { path, version } => MultiOp::SetData(set(path, None, version)),
        Part::Check { path, version } => {
            MultiOp::Check(CheckRequest { path: path.text().into(), version: version.into() })
        }
    }
}
