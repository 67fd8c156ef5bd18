//! Where a server listens, once that is another place than where it began: the members have
//! changed, or it leads observers.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Node;
use crate::action::{Action, Actions};
use crate::config::{Config, EnsembleConfig, Member};
use crate::event::Port;
use crate::types::HostPort;
use crate::zab::Role;

/// Where a server listens for other servers.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct ListenAddresses {
    election: Vec<HostPort>,
    quorum: Vec<HostPort>,
}

impl ListenAddresses {
    /// Those of a server that has no role yet; a runtime has opened them when the node begins.
    pub(super) fn at_start(config: &Config) -> ListenAddresses {
        let members = config.ensemble.as_ref();
        let places = members.and_then(|members| ListenAddresses::of(config, members, false));
        places.unwrap_or(ListenAddresses { election: Vec::new(), quorum: Vec::new() })
    }

    /// A follower takes observers at `observerMasterPort`, a leader only at its quorum port
    /// (`Follower.followLeader`).
    fn of(
        config: &Config,
        members: &EnsembleConfig,
        takes_observers: bool,
    ) -> Option<ListenAddresses> {
        let own = members.members.get(&config.my_id)?;
        let at = |place: &HostPort| match config.network.quorum_listen_on_all_ips {
            true => HostPort::new("0.0.0.0", place.port),
            false => place.clone(),
        };
        // With all addresses there may be one.
        let once = |mut places: Vec<HostPort>, place: HostPort| {
            if !places.contains(&place) {
                places.push(place);
            }
            places
        };
        let all = own.addresses.iter();
        let election = all.clone().map(|a| at(&a.election)).fold(Vec::new(), once);
        let mut quorum = all.map(|a| at(&a.quorum)).fold(Vec::new(), once);
        if let Some(port) = config.network.observer_master_port.filter(|_| takes_observers) {
            let masters: Vec<HostPort> =
                quorum.iter().map(|place| HostPort::new(&place.host, port)).collect();
            quorum = masters.into_iter().fold(quorum, once);
        }
        Some(ListenAddresses { election, quorum })
    }
}

impl Node {
    /// Listens for other servers where the members and this server's role want it to.
    pub(super) fn listen_for_servers(&mut self, out: &mut Actions) {
        let follows = Role::Following { active: true, observing: false };
        let takes_observers = self.ensemble.role() == follows;
        let members = self.members.as_ref().map(|members| members.committed());
        let wanted =
            members.and_then(|all| ListenAddresses::of(&self.config, all, takes_observers));
        let Some(wanted) = wanted.filter(|wanted| *wanted != self.listen_addresses) else { return };
        for (port, before, now) in [
            (Port::Election, &self.listen_addresses.election, &wanted.election),
            (Port::Quorum, &self.listen_addresses.quorum, &wanted.quorum),
        ] {
            if before != now {
                out.push(Action::Listen { port, at: now.iter().cloned().collect() });
            }
        }
        self.listen_addresses = wanted;
    }

    /// Listens for clients where this server's line of the members says.
    pub(super) fn listen_for_clients(&mut self, own: &Member, out: &mut Actions) {
        let Some(client) = &own.client else { return };
        let host = Some(client.host.to_string()).filter(|_| !client.is_wildcard());
        let config = &mut self.config;
        if (config.network.client_port, &config.network.client_port_address)
            != (Some(client.port), &host)
        {
            (config.network.client_port, config.network.client_port_address) =
                (Some(client.port), host);
            out.push(Action::Listen { port: Port::Client, at: Arc::from([client.clone()]) });
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn places(more: &str, takes_observers: bool) -> (Vec<HostPort>, Vec<HostPort>) {
        let text = alloc::format!(
            "dataDir=/d\ninitLimit=5\nsyncLimit=2\nclientPort=2181\nobserverMasterPort=2191\n\
             server.1=a:1:2\nserver.2=b:3:4|c:5:6\nserver.3=d:7:8\n{more}"
        );
        let config = Config::parse("zoo.cfg", &text, Some("2"), None).unwrap().0;
        let members = config.ensemble.as_ref().unwrap();
        let places = ListenAddresses::of(&config, members, takes_observers).unwrap();
        (places.election, places.quorum)
    }

    fn at(host: &str, port: u16) -> HostPort {
        HostPort::new(host, port)
    }

    #[test]
    fn only_who_takes_observers_listens_for_them() {
        let several = "multiAddress.enabled=true\n";
        let own = (vec![at("b", 4), at("c", 6)], vec![at("b", 3), at("c", 5)]);
        assert_eq!(places(several, false), own);
        let (_, quorum) = places(several, true);
        assert_eq!(quorum, [at("b", 3), at("c", 5), at("b", 2191), at("c", 2191)]);
    }

    #[test]
    fn at_all_addresses_its_ports_are_its_own() {
        let everywhere = "multiAddress.enabled=true\nquorumListenOnAllIPs=true\n";
        let (election, quorum) = places(everywhere, true);
        assert_eq!(election, [at("0.0.0.0", 4), at("0.0.0.0", 6)]);
        assert_eq!(quorum, [at("0.0.0.0", 3), at("0.0.0.0", 5), at("0.0.0.0", 2191)]);
        let same = Config::parse(
            "zoo.cfg",
            "dataDir=/d\ninitLimit=5\nsyncLimit=2\nmultiAddress.enabled=true\n\
             quorumListenOnAllIPs=true\nserver.1=a:1:2|b:1:2\nserver.2=c:1:2\n",
            Some("1"),
            None,
        );
        let same = same.unwrap().0;
        let places = ListenAddresses::of(&same, same.ensemble.as_ref().unwrap(), false).unwrap();
        assert_eq!(
            (places.election, places.quorum),
            (vec![at("0.0.0.0", 2)], vec![at("0.0.0.0", 1)])
        );
    }
}
