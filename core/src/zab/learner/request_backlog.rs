//! Backpressure for clients' requests on the link to the leader. The packets of the follower
//! itself, acknowledgements and answers to pings, are small and never wait.

use alloc::sync::Arc;

use super::Learner;
use crate::action::{Action, Actions};
use crate::types::ConnId;
use crate::wire::client::Id;

/// Requests that are sent before the link has to report that it is writable, bytes.
const MAX_BYTES: usize = 4 << 20;

/// Requests since the link was last writable, bytes.
#[derive(Default, Debug)]
pub(in crate::zab) struct RequestBacklog(usize);

impl RequestBacklog {
    /// Whether the link has to become writable before more is sent.
    pub(in crate::zab) fn is_full(&self) -> bool {
        self.0 >= MAX_BYTES
    }
}

impl Learner {
    /// Counts a request with this payload and these ids.
    pub(super) fn add_to_backlog(
        &mut self,
        data: usize,
        ids: Option<&Arc<[Id]>>,
        out: &mut Actions,
    ) {
        let had_space = !self.backlog.is_full();
        let ids = ids.into_iter().flat_map(|ids| ids.iter());
        self.backlog.0 += data + ids.map(|id| id.scheme.len() + id.id.len()).sum::<usize>();
        if let Some(conn) = self.conn
            && had_space
            && self.backlog.is_full()
        {
            out.push(Action::AwaitWritable { conn });
        }
    }

    /// The link is writable.
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
    fn full_backlog_awaits_writable_once() {
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
