//! Java system properties: `-DNAME=VALUE` on the command line, or in the environment variables that
//! ZooKeeper's scripts read.

use zabkeeper_core::config;

/// The variables that `zkServer.sh` passes to the JVM, in order: a later setting wins.
pub(crate) const VARIABLES: [&str; 2] = ["SERVER_JVMFLAGS", "JVMFLAGS"];

/// Settings outside of `zoo.cfg`, as name and value; `zoo.cfg` takes precedence.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct SystemProperties(Vec<(String, String)>);

impl SystemProperties {
    /// Collects the settings of the environment, then those of the command line (`NAME=VALUE`).
    /// Properties of the JVM and of other libraries are left out.
    pub(crate) fn collect(
        variable: impl Fn(&str) -> Option<String>,
        given: &[String],
    ) -> SystemProperties {
        let mut all = SystemProperties::default();
        for flags in VARIABLES.iter().filter_map(|name| variable(name)) {
            for flag in flags.split_whitespace() {
                if let Some(setting) = flag.trim_matches(['"', '\'']).strip_prefix("-D") {
                    all.insert(setting);
                }
            }
        }
        given.iter().for_each(|setting| all.insert(setting));
        all
    }

    fn insert(&mut self, setting: &str) {
        let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
        if config::concerns(name) {
            self.0.retain(|(earlier, _)| earlier != name);
            self.0.push((name.to_string(), value.to_string()));
        }
    }

    /// Whether the property with this full name has this value, ignoring case.
    pub(crate) fn sets(&self, name: &str, value: &str) -> bool {
        self.0.iter().any(|(known, given)| known == name && given.eq_ignore_ascii_case(value))
    }

    /// The settings in order.
    pub(crate) fn as_slice(&self) -> &[(String, String)] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collected(server: &str, jvm: &str, given: &[&str]) -> Vec<(String, String)> {
        let variable = |name: &str| match name {
            "SERVER_JVMFLAGS" => Some(server.to_string()),
            "JVMFLAGS" => Some(jvm.to_string()),
            _ => None,
        };
        let given: Vec<String> = given.iter().map(|g| g.to_string()).collect();
        SystemProperties::collect(variable, &given).0
    }

    #[test]
    fn last_setting_of_a_property_wins() {
        let all = collected(
            "-Xmx4g -Dzookeeper.snapCount=500 -Djute.maxbuffer=2000000 -Dlog4j.x=y",
            "-XX:+UseG1GC \"-Dzookeeper.forceSync=no\" -Dzookeeper.digest.enabled",
            &["zookeeper.snapCount=700"],
        );
        let all: Vec<_> = all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [
            ("jute.maxbuffer", "2000000"),
            ("zookeeper.forceSync", "no"),
            ("zookeeper.digest.enabled", ""),
            ("zookeeper.snapCount", "700"),
        ];
        assert_eq!(all, expected);
        assert_eq!(collected("-Xmx1g", "", &[]), []);
    }
}
