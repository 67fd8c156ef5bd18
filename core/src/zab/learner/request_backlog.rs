//! How much of what clients ask the link to the leader is given at a time. What a follower sends
//! of its own, acknowledgements and answers to pings, is little, and never waits.

use alloc::sync::Arc;

use super::Learner;
use crate::action::{Action, Actions};
use crate::types::ConnId;
use crate::wire::client::Id;

/// Requests that the link is given before it has to take some of them, bytes.
const LINK_BYTES: usize = 4 << 20;

/// Requests on the way to the leader, bytes, since the link was known to take them.
#[derive(Default, Debug)]
pub(in crate::zab) struct RequestBacklog(usize);

impl RequestBacklog {
    /// Whether the link has to be asked before it is given more.
    pub(in crate::zab) fn is_full(&self) -> bool {
        self.0 >= LINK_BYTES
    }
}

impl Learner {
    /// A request with these ids goes on the way.
    pub(super) fn add_to_backlog(
        &mut self,
        data: usize,
        ids: Option<&Arc<[Id]>>,
        out: &mut Actions,
    ) {
        let had_room = !self.backlog.is_full();
        let ids = ids.into_iter().flat_map(|ids| ids.iter());
        self.backlog.0 += data + ids.map(|id| id.scheme.len() + id.id.len()).sum::<usize>();
        if let Some(conn) = self.conn
            && had_room
            && self.backlog.is_full()
        {
            out.push(Action::AwaitWritable { conn });
        }
    }

    /// The link takes more.
    pub(in crate::zab) fn writable(&mut self, conn: ConnId) {
        if self.conn == Some(conn) {
            self.backlog = RequestBacklog::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EnsembleConfig;
    use crate::types::{ServerId, Time};
    use crate::zab::EnsembleOptions;

    #[test]
    fn the_link_is_asked_once_it_was_given_much() {
        let (config, options) = (EnsembleConfig::default(), EnsembleOptions::default());
        let replica = crate::zab::Replica::new(ServerId(1), Arc::new(config), options);
        let mut learner = Learner::new(Time(0), &replica, ServerId(3));
        let (link, mut out) = (ConnId::dialled(1), Actions::new());
        learner.conn = Some(link);
        let id = Id { scheme: "digest".into(), id: "x".repeat(64 << 10).into() };
        let ids: Arc<[Id]> = Arc::from([id]);
        let mut asked = |learner: &mut Learner, count: usize| {
            out.clear();
            (0..count).for_each(|_| learner.add_to_backlog(60, Some(&ids), &mut out));
            out.iter().filter(|one| matches!(one, Action::AwaitWritable { .. })).count()
        };
        assert_eq!((asked(&mut learner, 63), learner.backlog.is_full()), (0, false));
        assert_eq!((asked(&mut learner, 3), learner.backlog.is_full()), (1, true));
        learner.writable(ConnId::accepted(9));
        assert!(learner.backlog.is_full());
        learner.writable(link);
        assert_eq!((asked(&mut learner, 1), learner.backlog.is_full()), (0, false));
    }
}
