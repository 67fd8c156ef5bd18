//! How much of what clients ask the link to the leader is given at a time. What a follower sends
//! of its own, acknowledgements and answers to pings, is little, and never waits.

use alloc::sync::Arc;

use super::learner::Learner;
use crate::action::{Action, Actions};
use crate::types::ConnId;
use crate::wire::client::Id;

/// Requests that the link is given before it has to take some of them, bytes.
const LINK_BYTES: usize = 4 << 20;

/// Requests on the way to the leader, bytes, since the link was known to take them.
#[derive(Default, Debug)]
pub(super) struct Room(usize);

impl Room {
    /// Whether the link has to be asked before it is given more.
    pub(super) fn is_used_up(&self) -> bool {
        self.0 >= LINK_BYTES
    }
}

impl Learner {
    /// A request with these ids goes on the way.
    pub(super) fn take_room(&mut self, data: usize, ids: Option<&Arc<[Id]>>, out: &mut Actions) {
        let had_room = !self.room.is_used_up();
        let ids = ids.into_iter().flat_map(|ids| ids.iter());
        self.room.0 += data + ids.map(|id| id.scheme.len() + id.id.len()).sum::<usize>();
        if let Some(conn) = self.conn
            && had_room
            && self.room.is_used_up()
        {
            out.push(Action::AwaitWritable { conn });
        }
    }

    /// The link takes more.
    pub(super) fn writable(&mut self, conn: ConnId) {
        if self.conn == Some(conn) {
            self.room = Room::default();
        }
    }
}
