//! Hostile members: bytes into the election port, and into the quorum port in every role and
//! phase.

use bytes::Bytes;
use zabkeeper_core::election::Notification;
use zabkeeper_core::event::Port;
use zabkeeper_core::types::{ConnId, Epoch};
use zabkeeper_core::wire::quorum::{
    ForwardedRequest, LearnerInfo, PacketType, Packets, QuorumPacket,
};

use super::ring::{End, Ring};
use crate::rig::pieces;

/// How long a sound ensemble may need to serve again: a failed join, and an election.
const HEALED_MS: u64 = 60_000;

/// Bytes into the election port of a member that looks for a leader (or has found one), from
/// several connections; when they are gone the ensemble elects.
pub fn election_frames(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    parse_notification(bytes);
    let mut ring = Ring::new(if how & 1 == 0 { &[2] } else { &[1, 2] });
    ring.run(if how & 2 == 0 { 50 } else { 1500 }, |_| false);
    // Two zero-length frames in a row would be refused anyway: 0xffff cuts connections.
    let mut conns: Vec<ConnId> = Vec::new();
    for stream in split_at_marks(bytes).into_iter().take(8) {
        let Some(rig) = ring.rigs.get_mut(&2) else { return };
        let conn = rig.accept(Port::Election);
        conns.push(conn);
        ring.inject((2, conn), pieces(stream, how >> 2));
        ring.run(20, |_| false);
    }
    ring.run(700, |_| false);
    for conn in conns {
        if let Some(rig) = ring.rigs.get_mut(&2) {
            rig.closed(conn);
        }
    }
    for id in [1, 3] {
        if !ring.rigs.contains_key(&id) {
            ring.start(id);
        }
    }
    assert!(ring.run(HEALED_MS, Ring::all_serve), "no leader after {HEALED_MS} ms");
    ring.agree();
}

/// Streams are separated by this mark.
const MARK: &[u8] = b"\xfe\xfd\xfc\xfb";

fn split_at_marks(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut rest, mut all) = (bytes, Vec::new());
    while let Some(at) = rest.windows(MARK.len()).position(|w| w == MARK) {
        all.push(&rest[..at]);
        rest = &rest[at + MARK.len()..];
    }
    all.push(rest);
    all
}

fn parse_notification(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(notification) = Notification::parse(&bytes) {
        let config = notification.config.clone().unwrap_or_default();
        let written = Notification::encode(&notification.vote, &config);
        let again = Notification::parse(&written).expect("what is written is read");
        assert_eq!(again.config, Some(config));
        assert_eq!(
            (again.vote.leader, again.vote.zxid),
            (notification.vote.leader, notification.vote.zxid)
        );
        assert_eq!(
            (again.vote.round, again.vote.state),
            (notification.vote.round, notification.vote.state)
        );
        assert_eq!(again.vote.peer_epoch, notification.vote.peer_epoch);
    }
}

/// Packets of the quorum port as records: what is read is written as it was.
pub fn quorum_packets(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    take_together(&bytes);
    let Ok(Some((packet, length))) = QuorumPacket::parse(&bytes, 1 << 20) else { return };
    assert!(length <= bytes.len());
    for short in [length - 1, length / 2, 0] {
        let part = QuorumPacket::parse(&bytes.slice(..short), 1 << 20);
        assert!(matches!(part, Ok(None)), "a part of a packet is not one: {part:?}");
    }
    let written = packet.to_bytes();
    assert_eq!(QuorumPacket::parse(&written, 3 << 20), Ok(Some((packet.clone(), written.len()))));
    let data = packet.data.clone().unwrap_or_default();
    match PacketType::from_i32(packet.kind) {
        Some(PacketType::Request) => {
            if let Ok(request) = ForwardedRequest::parse(&data) {
                assert_eq!(request.to_bytes(), data);
            }
        }
        Some(PacketType::FollowerInfo | PacketType::ObserverInfo) => {
            if let Ok(info) = LearnerInfo::parse(&data) {
                assert_eq!(LearnerInfo::parse(&info.to_bytes()), Ok(info));
            }
        }
        Some(_) | None => {}
    }
}

/// What is taken of a stream together is what would be taken packet by packet.
fn take_together(stream: &Bytes) {
    let (mut together, mut singly) = (stream.clone(), stream.clone());
    loop {
        let packets = Packets::take(&mut together, 1 << 20);
        let mut next = || QuorumPacket::take(&mut singly, 1 << 20);
        match packets {
            Ok(Some(Packets::One(packet))) => assert_eq!(next(), Ok(Some(packet))),
            Ok(Some(Packets::Bare { kind, first, count })) => {
                for n in 0..count as i64 {
                    let packet = next().expect("sound").expect("whole");
                    assert_eq!((packet.kind, packet.zxid.0 - n), (kind as i32, first.0));
                }
            }
            Ok(Some(Packets::Entries { kind, entries })) => {
                assert_eq!(entries.iter().count(), entries.len());
                assert_eq!(entries.iter().last().map(|(zxid, _)| zxid), Some(entries.last()));
                for (zxid, body) in &entries {
                    let packet = next().expect("sound").expect("whole");
                    assert_eq!((packet.kind, packet.zxid), (kind as i32, zxid));
                    assert_eq!(packet.data.as_deref(), Some(body));
                }
            }
            Ok(None) => return assert_eq!(next(), Ok(None)),
            Err(what) => return assert_eq!(next(), Err(what)),
        }
        assert_eq!(together, singly);
    }
}

/// Bytes into the quorum port of a member that has no role yet; it may become the leader
/// afterwards.
pub fn quorum_looking(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    let mut ring = Ring::new(&[3]);
    ring.run(50, |_| false);
    let conn = ring.rigs.get_mut(&3).map(|rig| rig.accept(Port::Quorum)).expect("it is up");
    ring.inject((3, conn), pieces(bytes, how >> 1));
    ring.start(1);
    if how & 1 == 1 {
        // The connection is still there when a leader is elected.
        ring.run(2000, |_| false);
    }
    ring.rigs.get_mut(&3).expect("it is up").closed(conn);
    ring.start(2);
    assert!(ring.run(HEALED_MS, Ring::all_serve), "no leader after {HEALED_MS} ms");
    ring.agree();
}

/// Bytes from a learner into the leader, after an honest beginning of the connection of a
/// chosen length. The ensemble recovers when it is gone.
pub fn quorum_leader(data: &[u8]) {
    let Some((&[phase, cut], bytes)) = data.split_first_chunk() else { return };
    let mut ring = Ring::new(&[1, 2, 3]);
    let end = if phase & 0x80 == 0 {
        hijack(&mut ring, 3, 2, phase)
    } else {
        // A connection of its own, about when the leader is elected.
        ring.run(30 * u64::from(phase & 0x0f), |_| false);
        None
    };
    let leader = ring.rigs.get_mut(&3).expect("it is up");
    let end = end.unwrap_or_else(|| (3, leader.accept(Port::Quorum)));
    leader.disk_stalls = phase & 0x40 != 0;
    ring.inject(end, pieces(bytes, cut));
    ring.run(300, |_| false);
    ring.rigs.get_mut(&3).expect("it is up").disk_stalls = false;
    ring.run(1500, |_| false);
    ring.rigs.get_mut(&3).expect("it is up").closed(end.1);
    assert!(ring.run(HEALED_MS, Ring::all_serve), "no leader after {HEALED_MS} ms");
    ring.run(100, |_| false);
    ring.agree();
}

/// Bytes from the leader into a follower, after an honest beginning of the connection of a
/// chosen length. The others do without it. It may stop with a reason; if it does not, it joins
/// them again within a bound, and they go on serving.
pub fn quorum_follower(data: &[u8]) {
    let Some((&[phase, cut], bytes)) = data.split_first_chunk() else { return };
    let mut ring = Ring::new(&[1, 2, 3]);
    let Some(end) = hijack(&mut ring, 1, 3, phase) else { panic!("it never follows") };
    let before = ring.rigs[&1].shown();
    ring.rigs.get_mut(&1).expect("it is up").disk_stalls = phase & 0x40 != 0;
    ring.inject(end, pieces(bytes, cut));
    let mut victim = ring.remove(1).expect("it is up");
    victim.pass(200);
    victim.disk_stalls = false;
    victim.pass(1500);
    victim.closed(end.1);
    victim.pass(5000);
    let accepted = victim.restarts_or_says_why().unwrap_or_default();
    assert!(ring.run(HEALED_MS, Ring::all_serve), "no leader after {HEALED_MS} ms");
    ring.agree();
    // With the last epoch that a word is enough for it cannot be followed into the next one.
    let next = Epoch(accepted.0.saturating_add(1));
    if victim.halted.is_some() || !Epoch::default().may_advance_to(next) {
        return;
    }
    // What such a leader has made it believe it cannot tell from the truth.
    let is_misled = victim.shown() != before;
    ring.join(1, victim);
    let serves = |ring: &Ring| ring.rigs[&1].halted.is_some() || ring.all_serve();
    let is_back = ring.run(HEALED_MS, serves);
    // It is not taken in with more than whoever leads has ever proposed, nor with a later epoch.
    let others = ring.rigs.iter().filter(|(id, _)| **id != 1).map(|(_, rig)| rig);
    let is_ahead = others.clone().all(|rig| rig.shown().0 < ring.rigs[&1].shown().0)
        || others.clone().all(|rig| rig.node.epoch() < ring.rigs[&1].node.epoch());
    assert!(is_back || is_ahead, "server 1 is still out after {HEALED_MS} ms");
    if !is_back || is_misled || ring.rigs[&1].halted.is_some() {
        ring.remove(1);
        assert!(ring.run(HEALED_MS, Ring::all_serve), "no leader after {HEALED_MS} ms");
    }
    ring.agree();
}

/// Runs until so many chunks have gone over the quorum wire between a server and its peer,
/// and takes the peer's place. A client's write is under way if there is a leader by then.
fn hijack(ring: &mut Ring, id: i64, peer: i64, phase: u8) -> Option<End> {
    let chunks = usize::from(phase & 0x0f);
    let reached = |ring: &Ring| {
        let end = ring.quorum_end(id, peer);
        end.is_some_and(|end| ring.quorum_chunks.get(&end).copied().unwrap_or(0) >= chunks)
    };
    ring.run(6000, reached);
    let end = ring.quorum_end(id, peer)?;
    let rig = ring.rigs.get_mut(&id)?;
    if phase & 0x20 != 0 && rig.node.serving() {
        let conn = rig.accept(Port::Client);
        rig.receive(conn, Bytes::from_static(CONNECT));
    }
    ring.cut(end);
    Some(end)
}

/// The first frame of a client that wants a session of ten seconds.
const CONNECT: &[u8] = b"\0\0\0\x2c\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x27\x10\0\0\0\0\0\0\0\0\0\0\0\x10\
    \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
