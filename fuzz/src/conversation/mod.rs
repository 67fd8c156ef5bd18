//! Conversations between real servers, again: a node takes the place of one of them, hears what
//! it heard, and says what it said.

mod capture;
mod compare;
mod play;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use zabkeeper_core::config::Config;
use zabkeeper_core::disk::MemoryFiles;
use zabkeeper_core::event::Port;
use zabkeeper_core::types::Zxid;
use zabkeeper_core::wire::quorum::{PacketType, QuorumPacket};
use zabkeeper_core::wire::txn::TxnHeader;
use zabkeeper_core::wire::{Reader, Record};

use capture::{Capture, Life, Side, What};
use compare::Said;
use play::{Made, Pace, Scene};
use words::{Kind, Word, Words};

/// Of `super:secret`.
const SUPER_DIGEST: &str = "lK75jTNcA+U9vtVEw5vB51mj/w4=";

/// What came of one server's life.
#[derive(Debug)]
pub struct Report {
    /// Server and time of its start.
    pub life: String,
    /// Packets and notifications that are the same.
    pub same: usize,
    /// Where they are not.
    pub differences: Vec<String>,
    /// Why this life was not played.
    pub skipped: Option<String>,
}

/// Plays all lives of a captured scenario.
pub fn replay(folder: &Path, name: &str) -> Vec<Report> {
    let capture = Capture::read(folder, name);
    let said = everything_said(&capture);
    let made = made(&said);
    let mut files: BTreeMap<i64, MemoryFiles> = BTreeMap::new();
    let mut reports = Vec::new();
    for life in &capture.lives {
        let label = format!("server {} from {} ms", life.server, life.from_ms);
        if life.is_odd {
            let skipped = Some(String::from("started with a property of ZooKeeper's own tests"));
            reports.push(Report { life: label, same: 0, differences: Vec::new(), skipped });
            continue;
        }
        let next = capture
            .lives
            .iter()
            .find(|other| other.server == life.server && other.from_ms > life.from_ms);
        let scene = Scene {
            capture: &capture,
            made: &made,
            config: config(&capture, *life, name),
            kept: next
                .and_then(|next| begins_with(&said, &capture, *next))
                .filter(|kept| *kept > Zxid::ZERO),
        };
        let kept = files.remove(&life.server).unwrap_or_default();
        let is_empty = begins_with(&said, &capture, *life) == Some(Zxid::ZERO);
        let kept = if is_empty { MemoryFiles::new() } else { kept };
        let mut best: Option<(usize, Vec<String>)> = None;
        for pace in Pace::ALL {
            let (talk, left) = play::play(&scene, *life, kept.clone(), pace);
            let (same, differences) = compared(&capture, &said, *life, &talk);
            if best.as_ref().is_none_or(|(_, others)| differences.len() < others.len()) {
                files.insert(life.server, left);
                best = Some((same, differences));
            }
            if best.as_ref().is_some_and(|(_, differences)| differences.is_empty()) {
                break;
            }
        }
        let (same, differences) = best.unwrap_or_default();
        reports.push(Report { life: label, same, differences, skipped: None });
    }
    reports
}

/// How many words are the same on all connections, and which are not.
fn compared(
    capture: &Capture,
    everything: &SaidBy,
    life: Life,
    talk: &BTreeMap<u32, Said>,
) -> (usize, Vec<String>) {
    let (mut same, mut differences) = (0, Vec::new());
    for (conn, said) in talk {
        let ends = capture.conns[conn];
        let mut said = said.clone();
        said.leave_out_late_acks(&synced_on(everything, *conn));
        let (agree, more) = said.compare(life.server);
        same += agree;
        let place = format!("{:?} #{conn} {:?}->{}", ends.port, ends.dialled, ends.accepted);
        differences.extend(more.into_iter().map(|what| format!("{place}: {what}")));
    }
    (same, differences)
}

/// The transactions that a connection's synchronisation brought, before NEWLEADER.
fn synced_on(everything: &SaidBy, conn: u32) -> BTreeSet<i64> {
    let new_leader = Kind::Packet(PacketType::NewLeader as i32);
    let proposal = Kind::Packet(PacketType::Proposal as i32);
    let said = everything.get(&(conn, Side::Accepted)).map(Vec::as_slice).unwrap_or_default();
    let before = said.iter().take_while(|word| word.kind != new_leader);
    before.filter(|word| word.kind == proposal).filter_map(Word::zxid).collect()
}

type SaidBy = BTreeMap<(u32, Side), Vec<Word>>;

fn everything_said(capture: &Capture) -> SaidBy {
    let mut all: BTreeMap<(u32, Side), (Words, Vec<Word>)> = BTreeMap::new();
    for heard in &capture.heard {
        let port = capture.conns[&heard.conn].port;
        if let What::Bytes(side, bytes) = &heard.what
            && port != Port::Client
        {
            let new = || (Words::new(port, *side == Side::Dialled), Vec::new());
            let (words, said) = all.entry((heard.conn, *side)).or_insert_with(new);
            said.extend(words.push(heard.ms, bytes));
        }
    }
    all.into_iter().map(|(key, (_, said))| (key, said)).collect()
}

/// What transactions were made, and when.
fn made(said: &SaidBy) -> Made {
    let mut made = Made::default();
    let proposal = Kind::Packet(PacketType::Proposal as i32);
    let inform = Kind::Packet(PacketType::Inform as i32);
    for word in said.values().flatten() {
        if word.kind == proposal || word.kind == inform {
            let read = QuorumPacket::parse(&word.bytes, usize::MAX);
            let packet = read.ok().flatten().expect("a packet").0;
            let data = packet.data.expect("a transaction");
            let header = TxnHeader::read(&mut Reader::new(&data)).expect("a header");
            made.times.insert(header.zxid, header.time_ms);
            let request = (header.client.0, header.cxid);
            made.by_request.entry(request).or_default().push(header.zxid);
        }
    }
    for zxids in made.by_request.values_mut() {
        zxids.sort_unstable();
    }
    made
}

/// The last zxid that a process has when it begins, by what it tells its leader.
fn begins_with(said: &SaidBy, capture: &Capture, life: Life) -> Option<Zxid> {
    let ack = Kind::Packet(PacketType::AckEpoch as i32);
    let own = |conn: &u32| capture.conns[conn].dialled == Some(life.server);
    let words = said.iter().filter(|((conn, side), _)| own(conn) && *side == Side::Dialled);
    let acks = words
        .flat_map(|(_, said)| said)
        .filter(|word| word.kind == ack && (life.from_ms..life.to_ms).contains(&word.at_ms));
    let first = acks.min_by_key(|word| word.at_ms)?;
    QuorumPacket::parse(&first.bytes, usize::MAX).ok().flatten().map(|(packet, _)| packet.zxid)
}

/// The configuration that the servers tell each other, as a `zoo.cfg`.
fn config(capture: &Capture, life: Life, name: &str) -> Config {
    let told = capture.heard.iter().find_map(|heard| {
        let is_election = capture.conns[&heard.conn].port == Port::Election;
        let What::Bytes(_, bytes) = &heard.what else { return None };
        let at = bytes.windows(9).position(|window| window == b"server.1=")?;
        let text = is_election.then(|| String::from_utf8_lossy(&bytes[at..]).into_owned())?;
        Some(text.lines().filter(|l| l.starts_with("server.")).map(|l| format!("{l}\n")).collect())
    });
    let members: String = told.expect("a configuration");
    let client = capture.conns.values().find(|ends| ends.port == Port::Client);
    let base = client.expect("a client").number / 100 * 100;
    let port = i64::from(base) + life.server;
    let is_reconfig = name.starts_with("reconfig");
    let text = format!(
        "tickTime=1000\ninitLimit=10\nsyncLimit=5\ndataDir=/d\nclientPort={port}\n\
         reconfigEnabled={is_reconfig}\nstandaloneEnabled=false\n\
         DigestAuthenticationProvider.superDigest=super:{SUPER_DIGEST}\n{members}"
    );
    let id = life.server.to_string();
    Config::parse("zoo.cfg", &text, Some(&id), None).expect("a good configuration").0
}
