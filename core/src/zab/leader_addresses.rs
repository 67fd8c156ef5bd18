//! The addresses that a learner dials: the leader's, or those of followers that serve observers.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Replica;
use crate::config::LearnerType;
use crate::types::{HostPort, ServerId};

/// The addresses in the order of the attempts: those of the leader; for an observer with an
/// `observerMasterPort` those of the other voters instead (`QuorumPeer.findLearnerMaster`). Each
/// observer begins with another voter.
pub(super) fn leader_addresses(
    replica: &Replica,
    leader: ServerId,
    observer: bool,
) -> Vec<HostPort> {
    let members = &replica.members().committed().members;
    if let Some(port) = replica.options.observer_master_port.filter(|_| observer) {
        let others = members
            .iter()
            .filter(|(id, member)| **id != leader && member.role == LearnerType::Participant);
        let addresses = others.flat_map(|(_, member)| &member.addresses);
        let mut masters: Vec<HostPort> =
            addresses.map(|address| HostPort::new(&address.quorum.host, port)).collect();
        if !masters.is_empty() {
            let first = usize::try_from(replica.me.0).unwrap_or(0) % masters.len();
            masters.rotate_left(first);
            return masters;
        }
    }
    let leader = replica.members().member(leader).map(|member| &member.addresses[..]);
    leader.unwrap_or_default().iter().map(|address| address.quorum.clone()).collect()
}

/// The reason to leave a leader that this server has no address of.
pub(super) fn not_listed(leader: ServerId) -> String {
    format!(
        "server {leader} was elected, and is not in this server's list of members: compare the \
         server.N lines of all members"
    )
}

/// The reason to leave a leader that does not answer.
pub(super) fn not_reached(leader: ServerId) -> String {
    format!(
        "server {leader} was elected, and does not answer at its quorum port: is it up, is its \
         server.N line right, is there a firewall between"
    )
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::sync::Arc;
    use alloc::vec;

    use super::*;
    use crate::config::EnsembleConfig;
    use crate::zab::EnsembleOptions;

    #[test]
    fn observer_with_an_observer_master_port_dials_the_followers_in_turn() {
        let mut config = EnsembleConfig::default();
        for id in 1..=4 {
            let host = alloc::format!("host{id}");
            let address = crate::config::ServerAddress {
                quorum: HostPort::new(&host, 2888),
                election: HostPort::new(&host, 3888),
            };
            let role = if id < 4 { LearnerType::Participant } else { LearnerType::Observer };
            let member = crate::config::Member { addresses: vec![address], role, client: None };
            config.members.insert(ServerId(id), member);
        }
        let config = Arc::new(config);
        let addresses = |me, observer_master_port| {
            let options = EnsembleOptions { observer_master_port, ..Default::default() };
            let replica = Replica::new(ServerId(me), config.clone(), options);
            let masters =
                leader_addresses(&replica, ServerId(3), replica.members().observes(ServerId(me)));
            masters.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(addresses(4, None), ["host3:2888"]);
        assert_eq!(addresses(4, Some(2191)), ["host1:2191", "host2:2191"]);
        assert_eq!(addresses(1, Some(2191)), ["host3:2888"], "a follower follows the leader");
    }
}
