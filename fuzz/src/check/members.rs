//! The members of an ensemble, and what a request to change them has to come to: ZooKeeper's
//! rules, written a second time, on plain text.

use std::collections::BTreeMap;

use bytes::Bytes;
use zabkeeper_core::quorum::{AckSet, Verifier};
use zabkeeper_core::types::Zxid;
use zabkeeper_core::wire::client::ReconfigRequest;
use zabkeeper_core::wire::txn::{LoggedTxn, Txn};
use zabkeeper_core::wire::{ErrorCode, OpCode, Record};

/// The node that shows the members.
pub const CONFIG_PATH: &str = "/zookeeper/config";
/// Where a transaction's header has its type.
const TYPE_AT: usize = 28;

/// The members as a committed configuration has them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Roster {
    /// The zxid of the reconfiguration; the beginning of an epoch: out of static files.
    pub version: i64,
    /// What stands behind `server.N=`.
    pub lines: BTreeMap<i64, String>,
}

impl Roster {
    /// Reads what `/zookeeper/config` holds.
    pub fn parse(text: &str) -> Option<Roster> {
        let mut roster = Roster::default();
        for line in text.lines() {
            let (key, value) = line.split_once('=')?;
            match key.strip_prefix("server.") {
                Some(id) => {
                    roster.lines.insert(id.parse().ok()?, String::from(value));
                }
                None if key == "version" => roster.version = i64::from_str_radix(value, 16).ok()?,
                None => return None,
            }
        }
        Some(roster)
    }

    /// What a transaction makes the members, if it is a reconfiguration.
    pub fn of(body: &Bytes) -> Option<Roster> {
        let op = body.get(TYPE_AT..)?.first_chunk::<4>().map(|op| i32::from_be_bytes(*op));
        if op != Some(OpCode::Reconfig as i32) {
            return None;
        }
        match LoggedTxn::from_bytes(body).ok()?.txn {
            Txn::Reconfig(txn) => Roster::parse(std::str::from_utf8(&txn.data?).ok()?),
            _ => None,
        }
    }

    /// As servers write it.
    pub fn text(&self) -> String {
        let line = |(id, line): (&i64, &String)| format!("server.{id}={line}\n");
        let lines: String = self.lines.iter().map(line).collect();
        format!("{lines}version={:x}", self.version)
    }

    /// Whether this server has a vote.
    pub fn has_vote(&self, id: i64) -> bool {
        self.lines.get(&id).is_some_and(|line| !line.contains(":observer"))
    }

    /// Who has a vote.
    pub fn voters(&self) -> impl Iterator<Item = i64> + '_ {
        self.lines.keys().copied().filter(|id| self.has_vote(*id))
    }

    /// Whether these are more than half of those that vote.
    pub fn is_quorum(&self, said: &AckSet) -> bool {
        let all = self.voters().count();
        2 * said.iter().filter(|id| self.has_vote(id.0)).count() > all
    }
}

/// All configurations that were ever committed, and who decides about what.
#[derive(Debug, Default)]
pub struct Rosters {
    /// Those of the beginning; none of a standalone server.
    first: Option<Box<dyn Verifier>>,
    later: Vec<Roster>,
}

impl Rosters {
    /// As the files have it.
    pub fn new(first: Option<Box<dyn Verifier>>) -> Rosters {
        Rosters { first, later: Vec::new() }
    }

    /// Whether there are no epochs and no quorums.
    pub fn is_standalone(&self) -> bool {
        self.first.is_none()
    }

    /// This one is committed.
    pub fn push(&mut self, roster: Roster) {
        self.later.push(roster);
    }

    /// The one that was committed last, if there was a reconfiguration.
    pub fn last(&self) -> Option<&Roster> {
        self.later.last()
    }

    /// Whether these are enough to have what is committed last, or comes after it.
    pub fn is_quorum(&self, holders: &AckSet) -> bool {
        match (&self.first, self.later.last()) {
            (_, Some(last)) => last.is_quorum(holders),
            (Some(first), None) => first.is_quorum(holders),
            (None, None) => holders.iter().next().is_some(),
        }
    }
}

/// What a leader may refuse, because of what only it knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leader {
    /// The configuration that a reconfiguration of this epoch made, proposed after all that whoever
    /// asks may know to be committed: it may have been under way.
    pub(super) may_be_busy: bool,
    /// What it has refused the request with, if it did.
    pub(super) code: Option<i32>,
}

/// The members after a request; `least`: so many have to vote.
///
/// # Errors
/// The code of the refusal.
pub(super) fn predict(
    now: &Roster,
    asked: &ReconfigRequest,
    zxid: Zxid,
    least: usize,
    leader: Leader,
) -> Result<Roster, ErrorCode> {
    let has_told = |code: ErrorCode| leader.code == Some(code as i32);
    if leader.may_be_busy && has_told(ErrorCode::ReconfigInProgress) {
        return Err(ErrorCode::ReconfigInProgress);
    }
    // A first configuration is of the epoch that it was agreed in, which nothing here says.
    let is_first = Zxid(now.version).counter() == 0;
    let is_of_then = match is_first {
        true => Zxid(asked.from).counter() == 0 && !has_told(ErrorCode::BadVersion),
        false => asked.from == now.version,
    };
    if asked.from != -1 && !is_of_then {
        return Err(ErrorCode::BadVersion);
    }
    let mut next = Roster { version: zxid.0, ..now.clone() };
    if let Some(all) = &asked.members {
        next.lines =
            parts(all).map(member).collect::<Option<_>>().ok_or(ErrorCode::BadArguments)?;
        let (voters, all) = (next.voters().count(), next.lines.len());
        let is_empty = voters == 0 && (least < 2 || all > 0);
        if is_empty || (voters == 1 && least > 1 && all > 1) {
            return Err(ErrorCode::MarshallingError);
        }
    } else {
        for leaving in asked.leaving.iter().flat_map(|text| parts(text)) {
            let id: i64 = leaving.parse().map_err(|_| ErrorCode::MarshallingError)?;
            next.lines.remove(&id);
        }
        for joining in asked.joining.iter().flat_map(|text| parts(text)) {
            let (id, line) = member(joining).ok_or(ErrorCode::BadArguments)?;
            next.lines.insert(id, line);
        }
    }
    if next.voters().count() < least {
        return Err(ErrorCode::BadArguments);
    }
    // Who is in step with the leader, only the leader knows.
    if has_told(ErrorCode::NewConfigNoQuorum) {
        return Err(ErrorCode::NewConfigNoQuorum);
    }
    Ok(next)
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// `server.5=5:2888:3888:observer;2181`, as it is written in the end.
fn member(text: &str) -> Option<(i64, String)> {
    let (id, line) = text.strip_prefix("server.")?.split_once('=')?;
    let (servers, client) = line.split_once(';')?;
    let mut words = servers.split(':');
    let (host, quorum, election) = (words.next()?, words.next()?, words.next()?);
    let role = words.next().unwrap_or("participant");
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    if ![quorum, election, client].into_iter().all(is_port) {
        return None;
    }
    Some((id.parse().ok()?, format!("{host}:{quorum}:{election}:{role};0.0.0.0:{client}")))
}

#[cfg(test)]
mod tests {
    use zabkeeper_core::types::ServerId;

    use super::*;

    const THREE: &str = "server.1=1:2888:3888:participant;0.0.0.0:2181\n\
        server.2=2:2888:3888:participant;0.0.0.0:2181\n\
        server.3=3:2888:3888:observer;0.0.0.0:2181\nversion=100000000";
    const IDLE: Leader = Leader { may_be_busy: false, code: None };

    fn ask(joining: &str, leaving: &str, from: i64) -> ReconfigRequest {
        let text = |text: &str| Some(text.into()).filter(|_| !text.is_empty());
        ReconfigRequest { joining: text(joining), leaving: text(leaving), members: None, from }
    }

    #[test]
    fn members_are_read_and_written_as_they_were() {
        let three = Roster::parse(THREE).unwrap();
        assert_eq!(three.text(), THREE);
        assert_eq!(three.voters().collect::<Vec<_>>(), [1, 2]);
        let said = |ids: &[i64]| ids.iter().map(|id| ServerId(*id)).collect::<AckSet>();
        assert!(three.is_quorum(&said(&[1, 2])) && !three.is_quorum(&said(&[1, 3])));
    }

    #[test]
    fn each_refusal_has_its_reason() {
        let three = Roster::parse(THREE).unwrap();
        let comes_to = |asked, leader| predict(&three, &asked, Zxid(0x1_0000_0005), 2, leader);
        let next = comes_to(ask("server.3=3:2888:3888;2181", "1", -1), IDLE).unwrap();
        assert_eq!((next.version, next.voters().collect()), (0x1_0000_0005, vec![2, 3]));
        assert_eq!(comes_to(ask("", "1", -1), IDLE), Err(ErrorCode::BadArguments));
        assert_eq!(comes_to(ask("", "x", -1), IDLE), Err(ErrorCode::MarshallingError));
        assert_eq!(comes_to(ask("server.4=4:1", "", -1), IDLE), Err(ErrorCode::BadArguments));
        assert_eq!(comes_to(ask("", "3", 0x1_0000_0001), IDLE), Err(ErrorCode::BadVersion));
        let busy = Leader { may_be_busy: true, code: Some(ErrorCode::ReconfigInProgress as i32) };
        assert_eq!(comes_to(ask("", "3", -1), busy), Err(ErrorCode::ReconfigInProgress));
        assert!(comes_to(ask("", "3", -1), Leader { may_be_busy: false, ..busy }).is_ok());
        let alone = Leader { may_be_busy: false, code: Some(ErrorCode::NewConfigNoQuorum as i32) };
        assert_eq!(comes_to(ask("", "3", -1), alone), Err(ErrorCode::NewConfigNoQuorum));
    }
}
