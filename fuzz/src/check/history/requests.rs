//! The requests of a session's clients. A log names a request by its session and number alone, and
//! clients may restart their numbers on each connection: then a transaction may belong to one of
//! several requests, until an answer shows to which.

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use zabkeeper_core::client::Request;
use zabkeeper_core::types::Zxid;

use super::is_write;
use crate::check::model::Effect;

/// A request that waits for its answer or, if its connection is gone, for its transaction.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: Request,
    /// What was acknowledged to anybody when this was asked.
    pub(super) after: Zxid,
    /// The session's connections that were lost before.
    pub(super) connection: u32,
    /// The transactions that may be its own.
    pub(super) done: Vec<(Zxid, Effect)>,
    pub(super) is_lost: bool,
}

impl Asked {
    fn may_be(&self, zxid: Zxid) -> bool {
        self.done.iter().any(|(at, _)| *at == zxid)
    }
}

/// All of one session, by number, each with those of earlier connections before it.
#[derive(Debug, Default)]
pub(super) struct Requests(HashMap<i32, Vec<Asked>, FxBuildHasher>);

impl Requests {
    pub(super) fn ask(&mut self, xid: i32, asked: Asked) {
        self.0.entry(xid).or_default().push(asked);
    }

    /// Those of a number.
    pub(super) fn of(&self, xid: i32) -> &[Asked] {
        self.0.get(&xid).map_or(&[], Vec::as_slice)
    }

    /// Whether there are more transactions of a number than requests, if this is another.
    pub(super) fn is_one_too_many(&self, xid: i32, zxid: Zxid) -> bool {
        let all = self.of(xid);
        let mut zxids: Vec<Zxid> = all.iter().flat_map(|a| a.done.iter().map(|d| d.0)).collect();
        zxids.push(zxid);
        zxids.sort_unstable();
        zxids.dedup();
        zxids.len() > all.len()
    }

    /// A transaction is one of these, by their places.
    pub(super) fn done(&mut self, xid: i32, of: &[usize], zxid: Zxid, effect: &Effect) {
        let Some(all) = self.0.get_mut(&xid) else { return };
        for at in of {
            all[*at].done.push((zxid, effect.clone()));
        }
        self.settle(xid);
    }

    /// One on the last connection will not be answered. A read leaves no trace.
    pub(super) fn lose(&mut self, xid: i32) {
        let Some(all) = self.0.get_mut(&xid) else { return };
        if let Some(at) = all.iter().position(|asked| !asked.is_lost) {
            all[at].is_lost = true;
            if !is_write(&all[at].request) {
                all.remove(at);
            }
        }
        self.settle(xid);
    }

    /// None will be answered.
    pub(super) fn lose_all(&mut self) {
        for xid in self.0.keys().copied().collect::<Vec<_>>() {
            self.lose(xid);
        }
    }

    /// The one on the last connection is answered.
    pub(super) fn answer(&mut self, xid: i32, zxid: Zxid) -> Option<Asked> {
        let all = self.0.get_mut(&xid)?;
        let at = all.iter().position(|asked| !asked.is_lost)?;
        let asked = all.remove(at);
        if let Some(own) = asked.done.iter().map(|(at, _)| *at).filter(|at| *at <= zxid).max() {
            all.iter_mut().for_each(|other| other.done.retain(|(at, _)| *at != own));
        }
        self.settle(xid);
        Some(asked)
    }

    /// Forgets what is lost and done: what nobody else can have asked for.
    fn settle(&mut self, xid: i32) {
        let Some(all) = self.0.get_mut(&xid) else { return };
        loop {
            let is_its_own = |asked: &Asked| {
                let claims = |zxid| all.iter().filter(|other| other.may_be(zxid)).count();
                asked.done.iter().find(|(zxid, _)| claims(*zxid) == 1).map(|(zxid, _)| *zxid)
            };
            let own = all.iter().enumerate().filter(|(_, asked)| asked.is_lost);
            let own = own.filter_map(|(at, asked)| Some((at, is_its_own(asked)?))).next();
            match own {
                Some((at, _)) => drop(all.remove(at)),
                None => break,
            }
        }
        if all.is_empty() {
            self.0.remove(&xid);
        }
    }
}
