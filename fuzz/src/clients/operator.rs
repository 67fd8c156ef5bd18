//! The operator: a client that changes the members of the ensemble.

use std::collections::BTreeMap;

use fastrand::Rng;
use zabkeeper_core::client::{Failure, Request, Response};
use zabkeeper_core::wire::client::{ReconfigRequest, WatchedRequest};

use super::workloads::Step;
use crate::check::members::{CONFIG_PATH, Roster};

/// Who may change the members: `super` with this password.
pub(super) const AUTH: &[u8] = b"super:reconfigure";
/// The same as `zoo.cfg` has it.
pub const SUPER_DIGEST: &str = "super:eTVUrPfvXJP+KuNvCUxnUerF4Tw=";

/// The member lines of a server of this number.
pub fn line(id: i64, observes: bool) -> String {
    let role = if observes { "observer" } else { "participant" };
    format!("{id}:2888:3888:{role};2181")
}

/// One operator at work.
#[derive(Debug)]
pub(super) struct Operator {
    servers: usize,
    /// So many servers keep a vote.
    least: usize,
    known: Option<Roster>,
    /// The members stay as they are.
    is_content: bool,
}

impl Operator {
    pub(super) fn new(servers: usize, least: usize) -> Operator {
        Operator { servers, least, known: None, is_content: false }
    }

    /// Changes nothing more.
    pub(super) fn be_content(&mut self) {
        self.is_content = true;
    }

    pub(super) fn next(&mut self, rng: &mut Rng) -> Step {
        let read = Request::GetData(WatchedRequest { path: CONFIG_PATH.into(), watch: rng.bool() });
        let asked = match &self.known {
            Some(known) if !self.is_content && rng.u32(..4) > 0 => self.change(rng, known),
            _ => None,
        };
        Step::Ask(asked.map_or(read, Request::Reconfig))
    }

    pub(super) fn answered(&mut self, result: &Result<Response, Failure>) {
        if let Ok(Response::Data(told)) = result {
            let text = told.data.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            self.known = Roster::parse(&text);
        }
    }

    fn change(&self, rng: &mut Rng, known: &Roster) -> Option<ReconfigRequest> {
        let members: Vec<i64> = known.lines.keys().copied().collect();
        let others: Vec<i64> =
            (1..=self.servers as i64).filter(|id| !known.lines.contains_key(id)).collect();
        let one = |rng: &mut Rng, of: &[i64]| of.get(rng.usize(..of.len().max(1))).copied();
        // An own line for whoever joins; most come to vote.
        let role = |rng: &mut Rng| rng.u32(..4) == 0;
        let (mut joining, mut leaving, mut whole) = (BTreeMap::new(), Vec::new(), None);
        match rng.u32(..12) {
            0..=3 => {
                joining.insert(one(rng, &others)?, role(rng));
                if rng.u32(..4) == 0 {
                    joining.insert(one(rng, &others)?, role(rng));
                }
            }
            4 | 5 => leaving.push(one(rng, &members)?),
            // The largest of equals leads more often than others.
            6 => leaving.push(*members.last()?),
            7 => {
                let id = one(rng, &members)?;
                joining.insert(id, known.has_vote(id));
            }
            8 | 9 => {
                joining.insert(one(rng, &others)?, role(rng));
                leaving.push(one(rng, &members)?);
            }
            10 => {
                let all = (1..=self.servers as i64).filter_map(|id| match rng.u32(..8) {
                    0 | 1 => None,
                    n => Some((id, n == 2)),
                });
                whole = Some(all.collect::<BTreeMap<_, _>>());
            }
            _ => return Some(odd(rng, known)),
        }
        let mut next: BTreeMap<i64, bool> =
            members.iter().map(|id| (*id, !known.has_vote(*id))).collect();
        next.retain(|id, _| !leaving.contains(id));
        next.extend(&joining);
        let next = whole.as_ref().unwrap_or(&next);
        if next.values().filter(|observes| !**observes).count() < self.least {
            return None;
        }
        // Where a server may need others to help it, nothing is changed that was not looked at.
        let from = match rng.u32(..3) {
            0 if self.least < 3 => -1,
            _ => known.version,
        };
        let lines = |of: &BTreeMap<i64, bool>| {
            let lines =
                of.iter().map(|(id, observes)| format!("server.{id}={}", line(*id, *observes)));
            Some(lines.collect::<Vec<_>>().join(",").into()).filter(|_| !of.is_empty())
        };
        let ids: Vec<String> = leaving.iter().map(i64::to_string).collect();
        Some(ReconfigRequest {
            joining: lines(&joining),
            leaving: Some(ids.join(",").into()).filter(|_| !ids.is_empty()),
            members: whole.as_ref().and_then(lines),
            from,
        })
    }
}

/// What has to be refused, each for its own reason.
fn odd(rng: &mut Rng, known: &Roster) -> ReconfigRequest {
    let nothing = ReconfigRequest { joining: None, leaving: None, members: None, from: -1 };
    match rng.u32(..6) {
        0 => ReconfigRequest { joining: Some("server.9=9:2888:3888".into()), ..nothing },
        1 => ReconfigRequest { leaving: Some("one".into()), ..nothing },
        2 => ReconfigRequest { leaving: Some("1,2,3,4,5,6,7".into()), ..nothing },
        3 => ReconfigRequest { members: Some("server.1=1:2888".into()), ..nothing },
        4 => {
            let all = format!("server.1={}", line(1, true));
            ReconfigRequest { members: Some(all.into()), ..nothing }
        }
        _ => ReconfigRequest { leaving: Some("1".into()), from: known.version + 1, ..nothing },
    }
}
