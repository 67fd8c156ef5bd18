//! Who leads, and who is still to serve: out of what the servers say.

use zabkeeper_core::zab::Role;

use crate::driver::Report;

/// What the servers of the side that has a quorum say.
#[derive(Default)]
pub(super) struct Survey {
    pub(super) quorum: bool,
    /// Who leads them.
    pub(super) leader: Option<usize>,
    /// Who does not serve yet.
    pub(super) waits_for: Option<usize>,
}

impl Survey {
    pub(super) fn weigh(&mut self, reports: &[(usize, Report)]) {
        let leads = |report: &Report| report.serving && matches!(report.role, Role::Leading { .. });
        let newest = reports.iter().map(|(_, report)| report.epoch).max();
        let with = |epoch| reports.iter().filter(move |(_, report)| Some(report.epoch) == epoch);
        let mut leaders = reports.iter().filter(|(_, report)| leads(report));
        let followers = with(newest).filter(|(_, report)| report.serving && !leads(report));
        // Who has lost its followers may not know yet.
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
