//! The list of members as a text that servers exchange and as the files that hold it
//! (`QuorumPeerConfig.parseDynamicConfig`, `writeDynamicConfig`, `editStaticConfig`).

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::lines::{A_VERSION, version, wrong};
use super::values::Values;
use super::{ConfigError, EnsembleConfig, keys, lines_of};
use crate::text::properties;
use crate::types::HostPort;

impl EnsembleConfig {
    /// Reads the text form of [`EnsembleConfig::to_text`], as transactions, notifications and
    /// NEWLEADER carry it. `name` is the place in messages.
    ///
    /// # Errors
    /// The first mistake.
    pub fn parse(name: &str, text: &str) -> Result<EnsembleConfig, ConfigError> {
        let mut values = Values::new(name);
        let (versions, lines): (Vec<_>, Vec<_>) =
            lines_of(name, text)?.into_iter().partition(|p| properties::trim(&p.key) == "version");
        values.take_members(name, lines)?;
        let version = match versions.into_iter().next_back() {
            None => 0,
            Some(line) => {
                let (key, given) = values.given(name, line);
                version(&given.value).ok_or_else(|| wrong(&key, &given, A_VERSION))?
            }
        };
        let config = EnsembleConfig { version, ..values.members()? };
        values.check_groups(&config)?;
        Ok(config)
    }

    /// The content of `zoo.cfg.dynamic.<version>`: the lines in order, without the version and
    /// without a newline at the end.
    pub fn to_file(&self) -> String {
        let text = self.to_text();
        let mut lines: Vec<&str> = text.lines().filter(|l| !l.starts_with("version=")).collect();
        lines.sort_unstable();
        lines.join("\n")
    }

    /// An address that two members have (`QuorumServer.checkAddressDuplicate`). Wildcard and
    /// loopback addresses are ignored: members on different machines share them.
    pub fn shared_address(&self) -> Option<HostPort> {
        let mut seen: BTreeMap<HostPort, i64> = BTreeMap::new();
        for (id, member) in &self.members {
            let of_servers = member.addresses.iter().flat_map(|a| [&a.quorum, &a.election]);
            let is_of_one = |at: &&HostPort| !at.is_wildcard() && !is_loopback(at);
            for at in of_servers.chain(&member.client).filter(is_of_one) {
                if *seen.entry(at.clone()).or_insert(id.0) != id.0 {
                    return Some(at.clone());
                }
            }
        }
        None
    }
}

fn is_loopback(at: &HostPort) -> bool {
    &*at.host == "localhost" || at.ip().is_some_and(|ip| ip.is_loopback())
}

/// The text of `zoo.cfg` after the ensemble has moved to a dynamic file of this name: without the
/// lines that are in that file now, and with `erases_client` also without this server's client
/// port and address. All other lines stay, comments too.
pub fn point_to(text: &str, dynamic_file: &str, erases_client: bool) -> String {
    let is_moved = |key: &str| {
        keys::is_of_ensemble(key)
            || matches!(key, "dynamicConfigFile" | "peerType")
            || (erases_client && matches!(key, "clientPort" | "clientPortAddress"))
    };
    let mut kept = properties::without(text, is_moved);
    if !kept.is_empty() && !kept.ends_with('\n') {
        kept.push('\n');
    }
    let escaped = dynamic_file.replace('\\', "\\\\");
    format!("{kept}dynamicConfigFile={escaped}\n")
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    const THREE: &str = "server.1=a:1:2:participant;0.0.0.0:9\nserver.2=b:1:2:participant\n\
        server.3=c:1:2|d:1:2:observer\nversion=100000002";

    #[test]
    fn written_text_is_read_back() {
        let config = EnsembleConfig::parse("x", THREE).unwrap();
        assert_eq!((config.to_text(), config.version), (THREE.into(), 0x1_0000_0002));
        assert_eq!(config.to_file(), THREE.rsplit_once('\n').unwrap().0);
        for (bad, expected) in [
            (
                "bogus",
                "x:1: bogus=: expected only server.N, group.N, weight.N and version in this file",
            ),
            ("server.1=a:1", "x:1: server.1=a:1: expected host:"),
            ("server.1=a:1:2\nversion=q", "x:2: version=q: expected a hexadecimal number"),
            ("server.1=a:1:2\nversion=-d", "x:2: version=-d: expected a hexadecimal number"),
            ("server.1=a:1:2\nserver.2=b:1:2\ngroup.1=1", "x:1: server 2 is in no group"),
        ] {
            let error = EnsembleConfig::parse("x", bad).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn address_of_two_members_is_found() {
        let shared = |text: &str| EnsembleConfig::parse("x", text).unwrap().shared_address();
        assert_eq!(shared("server.1=a:1:2;9\nserver.2=b:1:2;9"), None, "any address");
        assert_eq!(shared("server.1=a:1:2;a:9\nserver.2=b:1:9;a:9"), Some(HostPort::new("a", 9)));
        assert_eq!(shared("server.1=a:1:2\nserver.2=a:2:3"), Some(HostPort::new("a", 2)));
        assert_eq!(
            shared("server.1=127.0.0.1:1:2\nserver.2=127.0.0.1:2:3"),
            None,
            "of many machines"
        );
    }

    #[test]
    fn static_file_loses_only_the_lines_that_move() {
        let text = "# ours\ntickTime=2000\nserver.1=a:1:2\nserver.2=b:\\\n  1:2\n\
            clientPort=1\nclientPortListenBacklog=5\npeerType=observer\ngroup.1=1\n\
            dynamicConfigFile=/old";
        assert_eq!(
            point_to(text, "/c/zoo.cfg.dynamic.1f", false),
            "# ours\ntickTime=2000\nclientPort=1\nclientPortListenBacklog=5\n\
             dynamicConfigFile=/c/zoo.cfg.dynamic.1f\n"
        );
        assert_eq!(
            point_to(text, "/d", true),
            "# ours\ntickTime=2000\nclientPortListenBacklog=5\ndynamicConfigFile=/d\n"
        );
        assert_eq!(point_to("", "/d", true), "dynamicConfigFile=/d\n");
    }
}
