//! The link to the leader: from the first dial to its end.

use super::super::masters::{masters, not_listed, not_reached};
use super::{ATTEMPTS, Learner, RETRY_MS, Stage};
use crate::action::{Action, Actions};
use crate::event::Port;
use crate::types::{ConnId, Time};
use crate::wire::quorum::{LearnerInfo, PROTOCOL_VERSION, PacketType, QuorumPacket};
use crate::zab::Shared;
use crate::zab::link::{Outbound, PacketReader};
use crate::zab::room::Room;

impl Learner {
    pub(super) fn dial(&mut self, shared: &mut Shared, out: &mut Actions) {
        let mut masters = masters(shared, self.leader, self.observer);
        if masters.is_empty() {
            self.ended = Some(not_listed(self.leader));
            return;
        }
        let most = ATTEMPTS * masters.len();
        let to = masters.swap_remove(self.attempts % masters.len());
        self.attempts += 1;
        self.is_last_attempt = self.attempts >= most;
        let conn = shared.dial_id();
        self.conn = Some(conn);
        self.stage = Stage::Dialling;
        out.push(Action::Dial { conn, port: Port::Quorum, to });
    }

    pub(in crate::zab) fn opened(
        &mut self,
        now: Time,
        shared: &Shared,
        conn: ConnId,
        out: &mut Actions,
    ) {
        self.heard = now;
        self.reader = PacketReader::default();
        self.room = Room::default();
        let mut outbound = Outbound::new(conn);
        let kind = if self.observer { PacketType::ObserverInfo } else { PacketType::FollowerInfo };
        let info = LearnerInfo {
            server: shared.me,
            protocol_version: PROTOCOL_VERSION,
            config_version: shared.members.current().version,
        };
        let zxid = shared.history.accepted_epoch.first_zxid();
        outbound.packet(&QuorumPacket::new(kind, zxid, Some(info.to_bytes())));
        outbound.flush(out);
        self.outbound = Some(outbound);
        self.stage = Stage::AwaitLeaderInfo;
    }

    pub(in crate::zab) fn closed(&mut self, now: Time, shared: &mut Shared) {
        self.conn = None;
        self.outbound = None;
        match self.stage {
            // A leader that is not ready yet refuses or closes: try again.
            Stage::Dialling | Stage::AwaitLeaderInfo if !self.is_last_attempt => {
                self.stage = Stage::Disconnected(now.plus_ms(RETRY_MS));
            }
            Stage::Dialling => self.ended = Some(not_reached(self.leader)),
            Stage::AwaitSync => {
                let what = "it closed the connection after this server had said what it has";
                self.ended = Some(shared.refused(now, self.leader, what));
            }
            _ => self.end("the connection to the leader broke"),
        }
    }
}
