//! The lines of members, groups and weights, and the rules between them.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::values::{EnsembleLine, Given, MS, Values, one_line};
use super::{ConfigError, EnsembleConfig, Member, NetworkConfig, java, keys, server_line};
use crate::text::properties::{self, Property};
use crate::types::{ServerId, literal};

impl Values<'_> {
    /// Takes the `dynamicConfigFile`, which holds the ensemble and nothing else. Returns its
    /// version, the end of its name (`zoo.cfg.dynamic.<hex>`).
    pub(super) fn take_dynamic(
        &mut self,
        name: &str,
        lines: Vec<Property>,
    ) -> Result<i64, ConfigError> {
        if let Some(EnsembleLine { key, given }) = self.ensemble.first() {
            let what = format!("{key} belongs in the dynamicConfigFile, {name}: move it there");
            return Err(ConfigError { place: given.place.clone(), what });
        }
        if let Some(version) = lines.iter().find(|line| properties::trim(&line.key) == "version") {
            let what =
                "a dynamicConfigFile has no version line: the version is the end of its name";
            let place = format!("{name}:{}", version.line);
            return Err(ConfigError { place, what: String::from(what) });
        }
        self.take_members(name, lines)?;
        let suffix = name.rsplit_once('.').map(|(_, suffix)| suffix);
        Ok(suffix.and_then(version).unwrap_or(0))
    }

    /// Takes lines that may describe an ensemble and nothing else.
    pub(super) fn take_members(
        &mut self,
        name: &str,
        lines: Vec<Property>,
    ) -> Result<(), ConfigError> {
        for line in lines {
            let (key, given) = self.given(name, line);
            if !keys::is_of_ensemble(&key) {
                let expected = "only server.N, group.N, weight.N and version in this file";
                return Err(wrong(&key, &given, expected));
            }
            self.take_line(key, given);
        }
        Ok(())
    }

    /// The version of an ensemble that is listed in `zoo.cfg` itself.
    pub(super) fn static_version(&self) -> Result<i64, ConfigError> {
        match self.word("version") {
            None => Ok(0),
            Some(text) => version(text).ok_or_else(|| self.error("version", A_VERSION)),
        }
    }

    /// Reads the `server`, `group` and `weight` lines, each on its own.
    pub(super) fn members(&self) -> Result<EnsembleConfig, ConfigError> {
        let mut ensemble = EnsembleConfig::default();
        for EnsembleLine { key, given } in &self.ensemble {
            let error = |expected: &str| wrong(key, given, expected);
            let (kind, id) = key.split_once('.').unwrap_or((key, ""));
            let id = java::parse(id).ok_or_else(|| error(&format!("{kind}.N with a number N")))?;
            if kind == "server" {
                let member = server_line::parse(&given.value)
                    .map_err(|mistake| error(mistake.expected()))?;
                ensemble.members.insert(ServerId(id), member);
            } else if kind.starts_with("group") {
                let sids = server_line::parse_group(&given.value);
                for sid in sids.ok_or_else(|| error("server ids separated by colons"))? {
                    if ensemble.groups.insert(sid, id).is_some() {
                        return Err(error("every server in one group only"));
                    }
                }
            } else {
                let weight = java::parse(&given.value).filter(|weight| *weight >= 0);
                let weight = weight.and_then(|weight| u32::try_from(weight).ok());
                let weight = weight.ok_or_else(|| error("a whole number, 0 or more"))?;
                ensemble.weights.insert(ServerId(id), weight.into());
            }
        }
        Ok(ensemble)
    }

    fn ensemble_error(&self, what: &str) -> ConfigError {
        let place = self.ensemble.first().map(|line| line.given.place.clone());
        ConfigError {
            place: place.unwrap_or_else(|| String::from(self.name)),
            what: String::from(what),
        }
    }

    /// Whether the server is a member of an ensemble, perhaps of one, and not standalone.
    pub(super) fn is_distributed(&self, ensemble: &EnsembleConfig) -> Result<bool, ConfigError> {
        let standalone = self.boolean("standaloneEnabled", true)?;
        match ensemble.voters().count() {
            0 if !standalone || !ensemble.members.is_empty() => {
                let what = "no server votes: expected at least one participant";
                Err(self.ensemble_error(what))
            }
            1 if standalone && ensemble.members.len() > 1 => Err(self.ensemble_error(
                "observers need an ensemble: expected several participants, or \
                 standaloneEnabled=false",
            )),
            voters => Ok(voters > 1 || !standalone),
        }
    }

    /// Checks the rules between an ensemble's lines (`QuorumPeerConfig`, `QuorumHierarchical`), and
    /// the settings that only a member needs.
    pub(super) fn check_ensemble(
        &self,
        ensemble: &EnsembleConfig,
        extended_types: bool,
    ) -> Result<(), ConfigError> {
        self.check_groups(ensemble)?;
        self.check_ports(ensemble)?;
        if extended_types
            && let Some(id) = ensemble.members.keys().find(|id| !(0..=254).contains(&id.0))
        {
            let what = format!("server.{id}: expected ids 0 to 254 with extendedTypesEnabled");
            return Err(self.ensemble_error(&what));
        }
        for key in ["initLimit", "syncLimit"] {
            let ticks = "a whole number of ticks, 1 or more";
            if self.number(key, 0, 1, ticks)? == 0 {
                return Err(self.error(key, ticks));
            }
        }
        match self.word("cnxTimeout").map(java::parse) {
            Some(None | Some(..=0 | 0x8000_0000..)) => Err(self.error("cnxTimeout", MS)),
            _ => Ok(()),
        }
    }

    /// Checks that groups hold all voters, and members only.
    pub(super) fn check_groups(&self, ensemble: &EnsembleConfig) -> Result<(), ConfigError> {
        let grouped = !ensemble.groups.is_empty() || !ensemble.weights.is_empty();
        for id in ensemble.voters() {
            if grouped && !ensemble.groups.contains_key(&id) {
                return Err(self.ensemble_error(&format!(
                    "server {id} is in no group: expected every voter in a group.G line"
                )));
            }
        }
        if let Some(id) = ensemble.groups.keys().find(|id| !ensemble.members.contains_key(id)) {
            let what = format!("server {id} of a group.G line has no server.{id} line");
            return Err(self.ensemble_error(&what));
        }
        Ok(())
    }

    /// Checks that peers can reach each member at the ports of its line.
    fn check_ports(&self, ensemble: &EnsembleConfig) -> Result<(), ConfigError> {
        for EnsembleLine { key, given } in &self.ensemble {
            let id = key.strip_prefix("server.").and_then(java::parse).map(ServerId);
            let member = id.and_then(|id| ensemble.members.get(&id));
            let ports = |member: &Member| {
                member.addresses.iter().any(|a| a.quorum.port == 0 || a.election.port == 0)
            };
            if member.is_some_and(ports) {
                return Err(wrong(key, given, "ports that others can know, 1 to 65535"));
            }
        }
        if let Some(shared) = ensemble.shared_address() {
            self.warn_of_all(&format!(
                "two members have the address {shared}: only one can listen there"
            ));
        }
        Ok(())
    }

    /// Checks that a server with several addresses is allowed to have them (`QuorumServer`).
    pub(super) fn check_addresses(
        &self,
        ensemble: &EnsembleConfig,
        multi_address: bool,
    ) -> Result<(), ConfigError> {
        let Some(id) = ensemble.with_several_addresses().filter(|_| !multi_address) else {
            return Ok(());
        };
        let line = format!("server.{id}");
        let found = self.ensemble.iter().find(|one| one.key == line);
        let place = found.map_or_else(|| String::from(self.name), |one| one.given.place.clone());
        let what = format!(
            "{line} has several addresses: expected one, or multiAddress.enabled=true \
             (Apache ZooKeeper needs -Dzookeeper.multiAddress.enabled=true)"
        );
        Err(ConfigError { place, what })
    }

    /// Applies the client address of this server's member line, which `clientPort` and
    /// `clientPortAddress` must not contradict. Names are not resolved: only literal addresses
    /// can contradict.
    pub(super) fn client_address(
        &self,
        network: &mut NetworkConfig,
        me: Option<&Member>,
    ) -> Result<(), ConfigError> {
        let Some(line) = me.and_then(|member| member.client.as_ref()) else { return Ok(()) };
        if network.client_port.is_some_and(|port| port != line.port) {
            let expected = format!("{}, as in this server's own line", line.port);
            return Err(self.error("clientPort", &expected));
        }
        let ip = |host: &str| literal(host).map(|(ip, _)| ip);
        let given = network.client_port_address.as_deref().and_then(ip);
        if let (Some(given), Some(here)) = (given, ip(&line.host))
            && given != here
        {
            let expected = format!("{}, as in this server's own line", line.host);
            return Err(self.error("clientPortAddress", &expected));
        }
        network.client_port = Some(line.port);
        network.client_port_address = (!line.is_wildcard()).then(|| line.host.to_string());
        Ok(())
    }

    /// Warns if no client can connect.
    pub(super) fn warn_of_client_port(&self, network: &NetworkConfig) {
        match network.client_port {
            None => self.warn_of_all("no clientPort: no client can connect"),
            Some(0) => self.warn_of_all("clientPort is 0: clients cannot know the port"),
            Some(_) => {}
        }
    }
}

/// The form of a version, for messages.
pub(super) const A_VERSION: &str = "a hexadecimal number";

/// Reads a version: hexadecimal, and not negative.
pub(super) fn version(text: &str) -> Option<i64> {
    i64::from_str_radix(text, 16).ok().filter(|version| *version >= 0)
}

/// An error about a line of an ensemble.
pub(super) fn wrong(key: &str, given: &Given, expected: &str) -> ConfigError {
    let what = one_line(&format!("{key}={}: expected {expected}", given.value));
    ConfigError { place: given.place.clone(), what }
}
