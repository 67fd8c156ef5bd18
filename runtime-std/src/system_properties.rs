//! What operators give the JVM: `-Dzookeeper.KEY=VALUE`, on the command line or in the variables
//! that ZooKeeper's scripts read, is taken as if it stood in `zoo.cfg`.

use zabkeeper_core::config::{ConfigError, Warning};

/// What `zkServer.sh` hands to the JVM, in this order: of two, the later one counts.
pub const VARIABLES: [&str; 2] = ["SERVER_JVMFLAGS", "JVMFLAGS"];

/// Properties that ZooKeeper reads without the prefix `zookeeper.`.
const WITHOUT_PREFIX: [&str; 6] = [
    "jute.maxbuffer",
    "jute.maxbuffer.extrasize",
    "readonlymode.enabled",
    "znode.container.checkIntervalMs",
    "znode.container.maxNeverUsedIntervalMs",
    "znode.container.maxPerMinute",
];

/// Keys that ZooKeeper takes out of `zoo.cfg` only, whatever the JVM is told.
const OF_THE_FILE: [&str; 31] = [
    "autopurge.purgeInterval",
    "autopurge.snapRetainCount",
    "clientPort",
    "clientPortAddress",
    "clientPortListenBacklog",
    "connectToLearnerMasterLimit",
    "dataDir",
    "dataLogDir",
    "dynamicConfigFile",
    "electionAlg",
    "initLimit",
    "localSessionsEnabled",
    "localSessionsUpgradingEnabled",
    "maxClientCnxns",
    "maxSessionTimeout",
    "minSessionTimeout",
    "observerMasterPort",
    "oraclePath",
    "peerType",
    "portUnification",
    "quorum.cnxn.threads.size",
    "quorumListenOnAllIPs",
    "reconfigEnabled",
    "secureClientPort",
    "secureClientPortAddress",
    "sslQuorum",
    "standaloneEnabled",
    "syncEnabled",
    "syncLimit",
    "tickTime",
    "version",
];

/// Settings from outside of `zoo.cfg`, as key and value; `zoo.cfg` is stronger.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SystemProperties(Vec<(String, String)>);

impl SystemProperties {
    /// Those of the environment, then those of the command line (`KEY=VALUE`).
    pub fn collect(
        variable: impl Fn(&str) -> Option<String>,
        given: &[String],
    ) -> SystemProperties {
        let mut all = SystemProperties::default();
        for flags in VARIABLES.iter().filter_map(|name| variable(name)) {
            for flag in flags.split_whitespace() {
                if let Some(setting) = flag.trim_matches(['"', '\'']).strip_prefix("-D") {
                    all.take(setting);
                }
            }
        }
        given.iter().for_each(|setting| all.take(setting));
        all
    }

    fn take(&mut self, setting: &str) {
        let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
        let key = match key.strip_prefix("zookeeper.") {
            Some(key) if !OF_THE_FILE.contains(&key) && !is_of_ensemble(key) => key,
            // The JVM's own, and other libraries'.
            _ if WITHOUT_PREFIX.contains(&key) => key,
            _ => return,
        };
        self.0.retain(|(earlier, _)| earlier != key);
        self.0.push((key.to_string(), value.to_string()));
    }

    /// Whether a key has this value, in whatever case.
    pub fn sets(&self, key: &str, value: &str) -> bool {
        self.0.iter().any(|(known, given)| known == key && given.eq_ignore_ascii_case(value))
    }

    /// The text of `zoo.cfg` with these behind it, but for what it says itself.
    pub fn added_to(&self, text: &str) -> Extended {
        let own_lines = text.lines().count();
        let mut text = text.to_string();
        if !self.0.is_empty() && !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        for (key, value) in &self.0 {
            if zabkeeper_core::config::Config::value_of(&text, key).is_none() {
                let value = value.replace('\\', "\\\\");
                text.push_str(&format!("{key}={value}\n"));
            }
        }
        Extended { text, own_lines }
    }
}

fn is_of_ensemble(key: &str) -> bool {
    ["server.", "group.", "weight."].iter().any(|prefix| key.starts_with(prefix))
}

/// `zoo.cfg` and what came from outside of it.
#[derive(Debug)]
pub struct Extended {
    /// All of it.
    pub text: String,
    own_lines: usize,
}

impl Extended {
    /// An error, which says so if it is about a system property.
    pub fn error(&self, name: &str, mut error: ConfigError) -> ConfigError {
        error.place = self.place(name, error.place);
        error
    }

    /// The same for a warning.
    pub fn warning(&self, name: &str, mut warning: Warning) -> Warning {
        warning.place = self.place(name, warning.place);
        warning
    }

    fn place(&self, name: &str, place: String) -> String {
        let line = place.strip_prefix(name).and_then(|rest| rest.strip_prefix(':'));
        match line.and_then(|line| line.parse::<usize>().ok()) {
            Some(line) if line > self.own_lines => {
                format!("system property (-D, {} or {})", VARIABLES[0], VARIABLES[1])
            }
            _ => place,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collected(server: &str, jvm: &str, given: &[&str]) -> SystemProperties {
        let variable = |name: &str| match name {
            "SERVER_JVMFLAGS" => Some(server.to_string()),
            "JVMFLAGS" => Some(jvm.to_string()),
            _ => None,
        };
        let given: Vec<String> = given.iter().map(|g| g.to_string()).collect();
        SystemProperties::collect(variable, &given)
    }

    #[test]
    fn flags_of_the_jvm_are_taken_as_settings() {
        let all = collected(
            "-Xmx4g -Dzookeeper.snapCount=500 -Djute.maxbuffer=2000000 -Dlog4j.x=y",
            "-XX:+UseG1GC \"-Dzookeeper.forceSync=no\" -Dzookeeper.tickTime=5 -Dzookeeper.server.1=a:1:2",
            &["zookeeper.snapCount=700"],
        );
        let extended = all.added_to("dataDir=/d\nforceSync=yes");
        assert_eq!(
            extended.text, "dataDir=/d\nforceSync=yes\njute.maxbuffer=2000000\nsnapCount=700\n",
            "zoo.cfg is stronger, the command line than the environment"
        );
        assert_eq!(collected("-Xmx1g", "", &[]).added_to("a=b").text, "a=b");
    }

    #[test]
    fn a_message_tells_that_a_property_is_meant() {
        let all = collected("-Dzookeeper.snapCount=many", "", &[]);
        let extended = all.added_to("dataDir=/d\nfoo=1\n");
        let config = |line| ConfigError { place: format!("zoo.cfg:{line}"), what: String::new() };
        assert_eq!(extended.error("zoo.cfg", config(2)).place, "zoo.cfg:2");
        let place = extended.error("zoo.cfg", config(3)).place;
        assert_eq!(place, "system property (-D, SERVER_JVMFLAGS or JVMFLAGS)");
    }
}
