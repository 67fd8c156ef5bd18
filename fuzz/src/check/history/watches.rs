//! The watches of one client's session: what has to fire, and when.

use zabkeeper_core::types::Zxid;
use zabkeeper_core::wire::EventType;

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
    fn fits(&self, model: &Model, change: Change) -> bool {
        if !self.was_moved {
            let first = model.first_change(&self.path, self.since, |c| self.is_for(c));
            return first.is_some_and(|(_, first)| first == change);
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
        if self.was_moved && self.on == On::Nothing {
            // A node that came and went meanwhile is nobody's to tell.
            return model.at(&self.path, zxid).map(|node| (node.czxid, Change::Created));
        }
        let first = model.first_change(&self.path, self.since, |c| self.is_for(c));
        first.filter(|(at, _)| *at <= zxid)
    }
}

/// All watches of a session.
#[derive(Debug, Default)]
pub(super) struct Watches {
    all: Vec<Watch>,
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

    /// The connection is gone.
    pub(super) fn detached(&mut self) {
        self.echoes.clear();
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
    ) -> Result<(), String> {
        let change = match kind {
            EventType::NodeCreated => Change::Created,
            EventType::NodeDeleted => Change::Deleted,
            EventType::NodeDataChanged => Change::Data,
            EventType::NodeChildrenChanged => Change::Children,
        };
        let (mut fired, mut moved) = (0, 0);
        let mut wrong = None;
        self.all.retain(|watch| {
            if watch.path != path || !watch.is_for(change) {
                return true;
            }
            fired += 1;
            moved += u32::from(watch.was_moved);
            if !watch.fits(model, change) {
                let first = model.first_change(path, watch.since, |c| watch.is_for(c));
                wrong = Some(format!("{kind:?} for {watch:?}; what happened first is {first:?}"));
            }
            false
        });
        if change == Change::Deleted && moved == 2 {
            self.echoes.push(String::from(path));
        } else if fired == 0 {
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
        Ok(())
    }
}
