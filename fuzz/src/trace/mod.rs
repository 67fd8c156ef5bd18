//! What the bytes on a connection say: one line a message.

pub mod diagram;
pub mod quorum;
pub mod story;

use bytes::{Buf, Bytes, BytesMut};
use zabkeeper_core::election::{Notification, PeerState};
use zabkeeper_core::event::Port;
use zabkeeper_core::types::Zxid;
use zabkeeper_core::wire::client::{
    ConnectRequest, ConnectResponse, ReplyHeader, RequestHeader, WatcherEvent, XID_AUTH, XID_EVENT,
    XID_PING, XID_SET_WATCHES,
};
use zabkeeper_core::wire::frame::FrameReader;
use zabkeeper_core::wire::quorum::{ForwardedRequest, LearnerInfo, PacketType, QuorumPacket};
use zabkeeper_core::wire::txn::{LoggedTxn, Txn};
use zabkeeper_core::wire::{ErrorCode, OpCode, Reader, Record, Word};

use crate::check::members::Roster;
use quorum::{Item, QuorumStream};

/// Longer messages are not looked into.
const MOST_BYTES: usize = 16 << 20;
/// What opens an election's hello that has an address.
const HELLO_VERSIONS: [i64; 2] = [-65536, -65535];
/// How much of a line of text is shown.
const MOST_TEXT: usize = 80;
/// The longest address in a hello.
const MOST_ADDRESS: usize = 2048;

/// Both directions of one connection.
#[derive(Debug)]
pub struct Tap {
    port: Port,
    /// From the dialler, from the acceptor.
    sides: [Side; 2],
    /// The dialler sent a four-letter word: the answer is text.
    is_text: bool,
}

#[derive(Debug, Default)]
struct Side {
    frames: FrameReader,
    buffer: BytesMut,
    is_begun: bool,
    /// What a client's connection begins with, up to four bytes.
    head: Vec<u8>,
    packets: QuorumStream,
    is_lost: bool,
}

/// One message, as a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// What it says.
    pub text: String,
    /// It only shows that somebody is alive.
    pub is_ping: bool,
}

impl Tap {
    /// A connection to this port.
    pub fn new(port: Port) -> Tap {
        Tap { port, sides: Default::default(), is_text: false }
    }

    /// Whether nothing that this side still sends can be understood.
    pub fn is_lost(&self, side: usize) -> bool {
        self.sides.get(side).is_none_or(|side| side.is_lost)
    }

    /// Takes bytes of one side (0: the dialler); says what messages they complete.
    pub fn push(&mut self, side: usize, bytes: &Bytes) -> Vec<Message> {
        let mut told = Vec::new();
        let Some(known) = self.sides.get_mut(side).filter(|side| !side.is_lost) else {
            return told;
        };
        if self.is_text {
            // Whatever a client says after its word is not looked at.
            return if side == 0 { told } else { vec![line(text(bytes))] };
        }
        let understood = match self.port {
            Port::Client if known.four_letters(side, bytes, &mut told) => {
                self.is_text = true;
                Some(())
            }
            Port::Client => known.client(side, bytes, &mut told),
            Port::Election => known.election(side, bytes, &mut told),
            Port::Quorum => known.quorum(bytes, &mut told),
        };
        if understood.is_none() {
            known.is_lost = true;
            told.push(line("bytes that are no message"));
        }
        told
    }
}

/// Where the first message of these bytes ends; all of them, if they are none.
pub fn first_message(port: Port, bytes: &Bytes) -> usize {
    let framed = |at: usize| {
        let length = bytes.get(at..)?.first_chunk::<4>().map(|n| i32::from_be_bytes(*n))?;
        Some(at + 4 + usize::try_from(length).ok()?)
    };
    let end = match port {
        Port::Client => framed(0),
        Port::Election => {
            let first = bytes.first_chunk::<8>().map(|b| i64::from_be_bytes(*b));
            let is_hello = first.is_some_and(|first| HELLO_VERSIONS.contains(&first));
            framed(if is_hello { 16 } else { 0 })
        }
        Port::Quorum => match QuorumPacket::parse(bytes, MOST_BYTES) {
            Ok(Some((packet, length))) => PacketType::from_i32(packet.kind).map(|_| length),
            Ok(None) | Err(_) => None,
        },
    };
    end.filter(|end| *end <= bytes.len()).unwrap_or(bytes.len())
}

fn line(text: impl Into<String>) -> Message {
    Message { text: text.into(), is_ping: false }
}

fn ping(text: impl Into<String>) -> Message {
    Message { text: text.into(), is_ping: true }
}

/// The first line of an answer to a four-letter word.
fn text(bytes: &Bytes) -> String {
    let text = String::from_utf8_lossy(bytes);
    let first = text.lines().next().unwrap_or_default();
    let first: String = first.chars().take(MOST_TEXT).collect();
    match text.lines().count() {
        0 | 1 => format!("text {first:?}"),
        lines => format!("text of {lines} lines, {first:?}"),
    }
}

impl Side {
    /// Whether this begins with a four-letter word.
    fn four_letters(&mut self, side: usize, bytes: &Bytes, told: &mut Vec<Message>) -> bool {
        if side == 1 || self.head.len() == 4 {
            return false;
        }
        let missing = 4 - self.head.len();
        self.head.extend(bytes.iter().take(missing));
        let word = self.head.first_chunk().and_then(|head| Word::parse(*head));
        told.extend(word.map(|word| line(format!("four-letter word {}", word.name()))));
        word.is_some()
    }

    fn client(&mut self, side: usize, bytes: &Bytes, told: &mut Vec<Message>) -> Option<()> {
        self.frames.push(bytes.clone());
        while let Some(frame) = self.frames.next(MOST_BYTES).ok()? {
            let is_first = !std::mem::replace(&mut self.is_begun, true);
            let r = &mut Reader::new(&frame);
            told.push(match (is_first, side) {
                (true, 0) => {
                    let hello = ConnectRequest::from_bytes(&frame).ok()?;
                    if hello.session.0 == 0 {
                        line(format!("CONNECT, a new session of {} ms", hello.timeout_ms))
                    } else {
                        line(format!("CONNECT, has seen {}", hello.last_zxid_seen))
                    }
                }
                (true, _) => {
                    let answer = ConnectResponse::from_bytes(&frame).ok()?;
                    match answer.timeout_ms {
                        0 => line("the session is not known"),
                        ms => line(format!("CONNECTED for {ms} ms")),
                    }
                }
                (false, 0) => {
                    let RequestHeader { xid, op } = r.record().ok()?;
                    let op = OpCode::from_i32(op)?;
                    match xid {
                        XID_PING => ping("ping"),
                        XID_SET_WATCHES => line("setWatches"),
                        XID_AUTH => line("auth"),
                        _ => line(format!("{op:?} #{xid}{}", path(op, r))),
                    }
                }
                (false, _) => {
                    let ReplyHeader { xid, zxid, err } = r.record().ok()?;
                    match xid {
                        XID_PING => ping("pong"),
                        XID_EVENT => {
                            let event: WatcherEvent = r.record().ok()?;
                            let kind = zabkeeper_core::wire::EventType::from_i32(event.kind)?;
                            line(format!("EVENT {kind:?} {}", event.path))
                        }
                        XID_SET_WATCHES => line("the watches are set"),
                        XID_AUTH => line(format!("auth: {}", outcome(err))),
                        _ => line(format!("#{xid} at {zxid}: {}", outcome(err))),
                    }
                }
            });
        }
        Some(())
    }

    fn election(&mut self, side: usize, bytes: &Bytes, told: &mut Vec<Message>) -> Option<()> {
        self.buffer.extend_from_slice(bytes);
        if side == 0 && !self.is_begun {
            let Some(from) = hello(&mut self.buffer)? else { return Some(()) };
            self.is_begun = true;
            told.push(line(format!("HELLO from {from}")));
        }
        while let Some(length) = self.buffer.first_chunk::<4>().map(|n| u32::from_be_bytes(*n)) {
            let length = length as usize;
            if length > MOST_BYTES {
                return None;
            }
            if self.buffer.len() < 4 + length {
                break;
            }
            let frame = self.buffer.split_to(4 + length).freeze().slice(4..);
            let Notification { vote, config } = Notification::parse(&frame).ok()?;
            let text = config.as_deref().unwrap_or_default();
            let members = members(text.as_bytes()).map(|text| format!(", members {text}"));
            let members = members.unwrap_or_default();
            let state = match vote.state {
                PeerState::Looking => "LOOKING",
                PeerState::Following => "FOLLOWING",
                PeerState::Leading => "LEADING",
                PeerState::Observing => "OBSERVING",
            };
            told.push(line(format!(
                "NOTIFICATION {state}, for {} with {} of epoch {}, round {}{members}",
                vote.leader, vote.zxid, vote.peer_epoch, vote.round
            )));
        }
        Some(())
    }

    fn quorum(&mut self, bytes: &Bytes, told: &mut Vec<Message>) -> Option<()> {
        self.packets.push(bytes);
        while let Some(item) = self.packets.take().ok()? {
            told.push(match item {
                Item::Packet(kind, packet) => describe(kind, &packet),
                Item::SnapshotEnd(bytes) => {
                    line(format!("the snapshot's end, after {bytes} bytes"))
                }
            });
        }
        Some(())
    }
}

/// Takes the hello off the front, in any of its versions: who dials. `None`: it is no hello;
/// `Some(None)`: it is not complete yet (`QuorumCnxManager.InitialMessage`).
fn hello(buffer: &mut BytesMut) -> Option<Option<i64>> {
    let Some(first) = buffer.first_chunk::<8>().map(|b| i64::from_be_bytes(*b)) else {
        return Some(None);
    };
    if first >= 0 {
        buffer.advance(8);
        return Some(Some(first));
    }
    let Some(head) = buffer.first_chunk::<20>() else { return Some(None) };
    let mut rest = head.get(8..)?;
    let (from, length) = (rest.get_i64(), usize::try_from(rest.get_i32()).ok()?);
    if !HELLO_VERSIONS.contains(&first) || length > MOST_ADDRESS {
        return None;
    }
    if buffer.len() < 20 + length {
        return Some(None);
    }
    buffer.advance(20 + length);
    Some(Some(from))
}

fn describe(kind: PacketType, packet: &QuorumPacket) -> Message {
    let zxid = packet.zxid;
    let data = packet.data.clone().unwrap_or_default();
    match kind {
        PacketType::Ping => ping("PING"),
        PacketType::FollowerInfo | PacketType::ObserverInfo => {
            let name =
                if kind == PacketType::FollowerInfo { "FOLLOWERINFO" } else { "OBSERVERINFO" };
            let server = LearnerInfo::parse(&data).map_or(0, |info| info.server.0);
            line(format!("{name} of {server}, has accepted epoch {}", zxid.epoch()))
        }
        PacketType::LeaderInfo => line(format!("LEADERINFO, epoch {}", zxid.epoch())),
        PacketType::AckEpoch => {
            let epoch = Reader::new(&data).int().unwrap_or(0);
            line(format!("ACKEPOCH, has {zxid} of epoch {epoch}"))
        }
        PacketType::Diff => line(format!("DIFF to {zxid}")),
        PacketType::Trunc => line(format!("TRUNC to {zxid}")),
        PacketType::Snap => line(format!("SNAP of {zxid}")),
        PacketType::NewLeader => {
            let members = members(&data).map(|text| format!(", members {text}"));
            line(format!("NEWLEADER {zxid}{}", members.unwrap_or_default()))
        }
        PacketType::UpToDate => line("UPTODATE"),
        PacketType::Proposal => line(format!("PROPOSAL {zxid} {}", transaction(&data))),
        PacketType::Inform => line(format!("INFORM {zxid} {}", transaction(&data))),
        PacketType::Ack => line(format!("ACK {zxid}")),
        PacketType::Commit => line(format!("COMMIT {zxid}")),
        PacketType::CommitAndActivate => {
            line(format!("COMMITANDACTIVATE {zxid}, led by {}", leader(&data)))
        }
        PacketType::InformAndActivate => {
            let body = data.slice(data.len().min(8)..);
            let (leader, what) = (leader(&data), transaction(&body));
            line(format!("INFORMANDACTIVATE {zxid} {what}, led by {leader}"))
        }
        PacketType::Request => {
            let op = ForwardedRequest::parse(&data).ok().and_then(|r| {
                let op = OpCode::from_i32(r.op)?;
                let mut reader = Reader::new(&r.body);
                Some(format!("{op:?}{}", path(op, &mut reader)))
            });
            line(format!("REQUEST {}", op.unwrap_or_default()))
        }
        PacketType::Revalidate => line(match data.len() {
            9 if data.last() == Some(&1) => "REVALIDATE: it is valid",
            9 => "REVALIDATE: it is not",
            _ => "REVALIDATE a session",
        }),
        PacketType::Sync => line("SYNC"),
    }
}

/// Who leads by a reconfiguration.
fn leader(data: &Bytes) -> i64 {
    Reader::new(data).long().unwrap_or_default()
}

/// The members that a configuration names, and since when they count; nothing if it has no version.
fn members(text: &[u8]) -> Option<String> {
    let roster = Roster::parse(std::str::from_utf8(text).ok()?)?;
    let name = |id: &i64| match roster.has_vote(*id) {
        true => id.to_string(),
        false => format!("({id})"),
    };
    let names: Vec<String> = roster.lines.keys().map(name).collect();
    let since = Zxid(roster.version);
    (roster.version != 0).then(|| format!("{} of {since}", names.join(" ")))
}

/// What a logged transaction is, in a few words.
pub fn transaction(body: &Bytes) -> String {
    match LoggedTxn::from_bytes(body) {
        Ok(logged) => text_of(&logged.txn),
        Err(_) => format!("{} bytes", body.len()),
    }
}

/// A transaction in a few words.
pub fn text_of(txn: &Txn) -> String {
    match txn {
        Txn::CreateSession(ms) => format!("createSession for {ms} ms"),
        Txn::CloseSession(paths) => {
            let paths = paths.as_deref().unwrap_or_default();
            match paths.len() {
                0 => String::from("closeSession"),
                _ => format!("closeSession with {}", paths.join(" ")),
            }
        }
        Txn::Create(txn) | Txn::Create2(txn) => {
            let kind = if txn.ephemeral { " ephemeral" } else { "" };
            format!("create{kind} {}", txn.path)
        }
        Txn::CreateContainer(txn) => format!("create container {}", txn.path),
        Txn::CreateTtl(txn) => format!("create {} for {} ms", txn.path, txn.ttl),
        Txn::Delete(txn) | Txn::DeleteContainer(txn) => format!("delete {}", txn.path),
        Txn::SetData(txn) => format!("setData {} to version {}", txn.path, txn.version),
        Txn::Reconfig(txn) => {
            let data = txn.data.as_deref().unwrap_or_default();
            format!("reconfig to {}", members(data).unwrap_or_default())
        }
        Txn::SetAcl(txn) => format!("setACL {}", txn.path),
        Txn::Check(txn) => format!("check {}", txn.path),
        Txn::Multi(all) => {
            format!("multi [{}]", all.iter().map(text_of).collect::<Vec<_>>().join(", "))
        }
        Txn::Error(code) => format!("refusal: {}", outcome(*code)),
    }
}

fn outcome(code: i32) -> String {
    match ErrorCode::from_i32(code) {
        Some(ErrorCode::Ok) => String::from("ok"),
        Some(code) => format!("{code:?}"),
        None => code.to_string(),
    }
}

/// The path that a request begins with, if it does.
fn path(op: OpCode, r: &mut Reader<'_>) -> String {
    if matches!(op, OpCode::Multi | OpCode::CloseSession | OpCode::CreateSession | OpCode::Reconfig)
    {
        return String::new();
    }
    r.record::<bytestring::ByteString>().map(|path| format!(" {path}")).unwrap_or_default()
}
