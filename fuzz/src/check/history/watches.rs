//! The watches of one client's session: what has to fire, and when.

use zabkeeper_core::types::Zxid;
use zabkeeper_core::wire::{AddWatchMode, EventType, WatcherType};

use crate::check::model::{Change, Model};

/// What a watch was left on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum On {
    /// A node, by getData or exists.
    Node,
    /// A node that was not there, by exists.
    Nothing,
    /// A node's children.
    Children,
}

/// One watch.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Watch {
    path: String,
    on: On,
    /// Nothing that it is for has happened up to here.
    since: Zxid,
    /// The connection it was left on is gone: it is a later server's to say what changed.
    was_moved: bool,
}

impl Watch {
    fn is_for(&self, change: Change) -> bool {
        match change {
            Change::Children => self.on == On::Children,
            Change::Deleted => true,
            Change::Created | Change::Data => self.on != On::Children,
        }
    }

    /// Whether this event is a true word about what happened.
    fn fits(&self, model: &Model, change: Change, zxid: Zxid) -> bool {
        if !self.was_moved {
            let first = model.first_change(&self.path, self.since, |c| self.is_for(c));
            return first == Some((zxid, change));
        }
        // A server that is asked to go on compares only what is there now.
        let had = |wanted: &[Change]| {
            model.first_change(&self.path, self.since, |c| wanted.contains(&c)).is_some()
        };
        match (self.on, change) {
            (On::Node, Change::Data) => had(&[Change::Data, Change::Created]),
            (On::Children, Change::Children) => had(&[Change::Children, Change::Created]),
            (On::Node | On::Children, Change::Deleted) => had(&[Change::Deleted]),
            (On::Nothing, Change::Created) => had(&[Change::Created]),
            _ => false,
        }
    }

    /// What should have fired up to a zxid.
    fn missed(&self, model: &Model, zxid: Zxid) -> Option<(Zxid, Change)> {
        if model.is_unwatched(&self.path) {
            return None;
        }
        if self.was_moved && self.on == On::Nothing {
            // A node that came and went meanwhile is nobody's to tell.
            return model.at(&self.path, zxid).map(|node| (node.czxid, Change::Created));
        }
        let first = model.first_change(&self.path, self.since, |c| self.is_for(c));
        first.filter(|(at, _)| *at <= zxid)
    }
}

/// One that stays when it fires.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Lasting {
    path: String,
    mode: AddWatchMode,
    /// Everything up to here was told.
    since: Zxid,
    /// The connection it was left on is gone: what happens before a later server knows of it
    /// may be told or not.
    was_moved: bool,
}

impl Lasting {
    fn is_for(&self, change: Change, path: &str) -> bool {
        match self.mode {
            AddWatchMode::Persistent => path == self.path,
            AddWatchMode::PersistentRecursive if change == Change::Children => false,
            AddWatchMode::PersistentRecursive => {
                let below = path.strip_prefix(self.path.as_str());
                below.is_some_and(|b| b.is_empty() || b.starts_with('/') || self.path == "/")
            }
        }
    }
}

/// All watches of a session.
#[derive(Debug, Default)]
pub(super) struct Watches {
    all: Vec<Watch>,
    lasting: Vec<Lasting>,
    /// What this connection was told that lasting ones are for, and no answer has shown yet.
    heard: Vec<(Zxid, Change, String)>,
    /// The last event that this connection was told as it happened.
    last: Zxid,
    /// Deletions that a later server may tell twice: once for the node's watch, once for that
    /// of its children.
    echoes: Vec<String>,
}

impl Watches {
    /// A watch is left by a read that was answered at this zxid; twice is once.
    pub(super) fn left(&mut self, path: &str, on: On, since: Zxid) {
        let is_same = |known: &Watch| {
            known.path == path && (known.on == On::Children) == (on == On::Children)
        };
        let watch = Watch { path: String::from(path), on, since, was_moved: false };
        match self.all.iter_mut().find(|known| is_same(known)) {
            Some(known) => *known = watch,
            None => self.all.push(watch),
        }
    }

    /// A watch that stays is left by a request that was answered at this zxid.
    pub(super) fn added(&mut self, path: &str, mode: AddWatchMode, since: Zxid) {
        if !self.lasting.iter().any(|known| known.path == path && known.mode == mode) {
            let path = String::from(path);
            self.lasting.push(Lasting { path, mode, since, was_moved: false });
        }
    }

    /// Whether there is one of a kind.
    pub(super) fn contains(&self, path: &str, kind: WatcherType) -> bool {
        let mut once = self.all.iter().filter(|watch| watch.path == path);
        let mut lasting = self.lasting.iter().filter(|watch| watch.path == path);
        match kind {
            WatcherType::Children => once.any(|watch| watch.on == On::Children),
            WatcherType::Data => once.any(|watch| watch.on != On::Children),
            WatcherType::Any => once.next().is_some() || lasting.next().is_some(),
            WatcherType::Persistent => lasting.any(|w| w.mode == AddWatchMode::Persistent),
            WatcherType::PersistentRecursive => {
                lasting.any(|w| w.mode == AddWatchMode::PersistentRecursive)
            }
        }
    }

    /// They are taken away.
    pub(super) fn removed(&mut self, path: &str, kind: WatcherType) {
        self.all.retain(|watch| {
            let is_meant = match kind {
                WatcherType::Children => watch.on == On::Children,
                WatcherType::Data => watch.on != On::Children,
                WatcherType::Any => true,
                WatcherType::Persistent | WatcherType::PersistentRecursive => false,
            };
            watch.path != path || !is_meant
        });
        self.lasting.retain(|watch| {
            let is_meant = match kind {
                WatcherType::Children | WatcherType::Data => false,
                WatcherType::Any => true,
                WatcherType::Persistent => watch.mode == AddWatchMode::Persistent,
                WatcherType::PersistentRecursive => watch.mode == AddWatchMode::PersistentRecursive,
            };
            watch.path != path || !is_meant
        });
    }

    /// The connection is gone.
    pub(super) fn detached(&mut self) {
        self.echoes.clear();
        self.heard.clear();
        self.last = Zxid::ZERO;
        for watch in &mut self.lasting {
            watch.was_moved = true;
        }
        for watch in &mut self.all {
            watch.was_moved = true;
        }
    }

    /// The session is over.
    pub(super) fn forget(&mut self) {
        *self = Watches::default();
    }

    /// An event came.
    ///
    /// # Errors
    /// Why it should not have.
    pub(super) fn fired(
        &mut self,
        model: &Model,
        kind: EventType,
        path: &str,
        zxid: Zxid,
    ) -> Result<(), String> {
        let change = match kind {
            EventType::NodeCreated => Change::Created,
            EventType::NodeDeleted => Change::Deleted,
            EventType::NodeDataChanged => Change::Data,
            EventType::NodeChildrenChanged => Change::Children,
        };
        if model.is_unwatched(path) {
            self.all.retain(|watch| watch.path != path);
            return Ok(());
        }
        let is_live = zxid > Zxid::ZERO;
        if is_live && zxid < std::mem::replace(&mut self.last, zxid) {
            return Err(format!("{kind:?} of {path} at {zxid} is told after a later event"));
        }
        let is_lasting =
            is_live && self.lasting.iter().any(|w| w.since < zxid && w.is_for(change, path));
        if is_lasting {
            let told = (zxid, change, String::from(path));
            let all = model.changes(Zxid(zxid.0 - 1), zxid);
            let happened = all.iter().filter(|change| **change == told).count();
            if self.heard.iter().filter(|heard| **heard == told).count() == happened {
                return Err(format!("{kind:?} of {path} at {zxid} happened {happened} times"));
            }
            self.heard.push(told);
        }
        let (mut fired, mut moved) = (0, 0);
        let mut wrong = None;
        self.all.retain(|watch| {
            if watch.path != path || !watch.is_for(change) {
                return true;
            }
            fired += 1;
            moved += u32::from(watch.was_moved);
            if !watch.fits(model, change, zxid) {
                let first = model.first_change(path, watch.since, |c| watch.is_for(c));
                wrong = Some(format!("{kind:?} for {watch:?}; what happened first is {first:?}"));
            }
            false
        });
        if change == Change::Deleted && moved == 2 {
            self.echoes.push(String::from(path));
        } else if fired == 0 && !is_lasting {
            let echo = self.echoes.iter().position(|known| known == path);
            match echo.filter(|_| change == Change::Deleted) {
                Some(echo) => drop(self.echoes.swap_remove(echo)),
                None => return Err(format!("{kind:?} of {path}, on which no watch is left")),
            }
        }
        wrong.map_or(Ok(()), Err)
    }

    /// An answer came that shows the tree at this zxid.
    ///
    /// # Errors
    /// The event that should have come before.
    pub(super) fn answered(&mut self, model: &Model, zxid: Zxid) -> Result<(), String> {
        self.echoes.clear();
        for watch in &mut self.all {
            if let Some((at, change)) = watch.missed(model, zxid) {
                return Err(format!("{watch:?} has not fired for {change:?} at {at}"));
            }
            // A server is asked to go on with all of them before anything else.
            (watch.since, watch.was_moved) = (watch.since.max(zxid), false);
        }
        self.all_were_told(model, zxid)
    }

    /// What lasting watches are for was told, up to a zxid.
    fn all_were_told(&mut self, model: &Model, zxid: Zxid) -> Result<(), String> {
        let staying = || self.lasting.iter().filter(|watch| !watch.was_moved);
        if let Some(since) = staying().map(|watch| watch.since).min() {
            let mut heard = self.heard.clone();
            for change in model.changes(since, zxid) {
                let (at, what, path) = change;
                if model.is_unwatched(path) {
                    continue;
                }
                let Some(watch) = staying().find(|w| w.since < *at && w.is_for(*what, path)) else {
                    continue;
                };
                match heard.iter().position(|told| told == change) {
                    Some(told) => drop(heard.swap_remove(told)),
                    None => {
                        return Err(format!(
                            "{watch:?} has not fired for {what:?} of {path} at {at}"
                        ));
                    }
                }
            }
        }
        self.heard.retain(|(at, ..)| *at > zxid);
        for watch in &mut self.lasting {
            (watch.since, watch.was_moved) = (watch.since.max(zxid), false);
        }
        Ok(())
    }
}
