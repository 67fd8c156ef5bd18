//! The leader of an ensemble, and servers that do not serve yet, from the reports of the servers.

use zabkeeper_core::zab::Role;

use crate::driver::Report;

/// The result for the side of a partition that has a quorum.
#[derive(Default)]
pub(super) struct Survey {
    pub(super) quorum: bool,
    /// The id of the leader.
    pub(super) leader: Option<usize>,
    /// The id of a server that does not serve clients yet.
    pub(super) waits_for: Option<usize>,
}

impl Survey {
    pub(super) fn evaluate(&mut self, reports: &[(usize, Report)]) {
        let leads = |report: &Report| report.serving && matches!(report.role, Role::Leading { .. });
        let newest = reports.iter().map(|(_, report)| report.epoch).max();
        let with = |epoch| reports.iter().filter(move |(_, report)| Some(report.epoch) == epoch);
        let mut leaders = reports.iter().filter(|(_, report)| leads(report));
        let followers = with(newest).filter(|(_, report)| report.serving && !leads(report));
        // A leader that has lost its followers may not have noticed it yet.
        self.leader = match (leaders.next(), leaders.next()) {
            (Some((server, report)), None) if Some(report.epoch) == newest => {
                (reports.len() == 1 || followers.count() > 0).then_some(*server)
            }
            _ => None,
        };
        let late = |(_, report): &&(usize, Report)| !report.serving || Some(report.epoch) != newest;
        let late = reports.iter().find(late).or(reports.first().filter(|_| self.leader.is_none()));
        self.waits_for = self.waits_for.or(late.map(|(server, _)| *server));
    }
}
