//! The keys of ZooKeeper 3.9: read by a group of settings, known but without effect here, or
//! refused because ignoring them would weaken security.

use super::settings;

/// The verdict on a setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// This server reads it.
    Used,
    /// ZooKeeper knows it; here it has no effect.
    NoEffect,
    /// It asks for protection that this server does not have.
    Refused,
    /// Neither ZooKeeper nor this server knows it.
    Unknown,
}

/// Where ZooKeeper reads a setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Home {
    /// In `zoo.cfg` only.
    File,
    /// As the JVM's property `zookeeper.KEY`, which a line of `zoo.cfg` sets.
    Property,
    /// As the JVM's property `KEY`, which no line of `zoo.cfg` sets.
    Flag,
    /// In `zoo.cfg`, or as the JVM's property `zookeeper.KEY`.
    Both,
}

/// A key and its home.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) home: Home,
}

/// A key that is read in `zoo.cfg` only.
pub(super) const fn file(name: &'static str) -> Key {
    Key { name, home: Home::File }
}

/// A key that is a property of the JVM with the prefix `zookeeper.`, or a line of `zoo.cfg`.
pub(super) const fn property(name: &'static str) -> Key {
    Key { name, home: Home::Property }
}

/// A key that is a property of the JVM without a prefix.
pub(super) const fn flag(name: &'static str) -> Key {
    Key { name, home: Home::Flag }
}

/// A key that is read in `zoo.cfg` first, then as a property of the JVM.
pub(super) const fn both(name: &'static str) -> Key {
    Key { name, home: Home::Both }
}

/// The prefix of keys that name a provider of authentication.
pub(super) const PROVIDER: &str = "authProvider.";
/// The providers of the schemes that are here, by the names of Java's classes.
const PROVIDERS: [&str; 3] = [DIGEST_PROVIDER, IP_PROVIDER, X509_PROVIDER];
pub(super) const DIGEST_PROVIDER: &str =
    "org.apache.zookeeper.server.auth.DigestAuthenticationProvider";
const IP_PROVIDER: &str = "org.apache.zookeeper.server.auth.IPAuthenticationProvider";
pub(super) const X509_PROVIDER: &str =
    "org.apache.zookeeper.server.auth.X509AuthenticationProvider";

/// Where a key is read.
pub(super) fn home(key: &str) -> Home {
    let tables = settings::KEYS.into_iter().chain([NO_EFFECT, PROTECTION]);
    let known = tables.flatten().find(|known| known.name == key);
    match known {
        Some(known) => known.home,
        None if is_of_ensemble(key) || key.starts_with("metricsProvider.") => Home::File,
        None if key.starts_with("multiAddress.") => Home::Both,
        None => Home::Property,
    }
}

/// Whether a key is that of a member, a group or a weight.
pub(super) fn is_of_ensemble(key: &str) -> bool {
    ["server.", "group", "weight"].iter().any(|prefix| key.starts_with(prefix))
}

/// Judges one setting by its key, without `zookeeper.`.
pub(super) fn judge(key: &str, value: &str) -> Verdict {
    let is_in = |table: &[Key]| table.iter().any(|known| known.name == key);
    let protects = match key {
        "secureClientPort" | "secureClientPortAddress" => true,
        // A mistyped "true" was meant to protect.
        _ if is_in(PROTECTION) => !value.eq_ignore_ascii_case("false"),
        _ => key.starts_with(PROVIDER) && !PROVIDERS.contains(&value),
    };
    let is_used = || settings::KEYS.into_iter().any(is_in);
    let has_family = || FAMILIES.iter().any(|prefix| key.starts_with(prefix));
    if protects {
        Verdict::Refused
    } else if key.starts_with(PROVIDER) || is_used() || is_done_anyway(key, value) {
        Verdict::Used
    } else if is_in(NO_EFFECT) || is_in(PROTECTION) || has_family() {
        Verdict::NoEffect
    } else {
        Verdict::Unknown
    }
}

/// Whether a value asks for what this server does in any case, so that no warning is due.
fn is_done_anyway(key: &str, value: &str) -> bool {
    DONE_ANYWAY.iter().any(|(known, done)| *known == key && value.eq_ignore_ascii_case(done))
}

/// Keys without effect, and the value of each that asks for what this server does in any case.
const DONE_ANYWAY: &[(&str, &str)] = &[
    ("IPAuthenticationProvider.usexforwardedfor", "false"),
    ("admin.enableServer", "false"),
    ("admin.restore.enabled", "false"),
    ("admin.snapshot.enabled", "false"),
    ("audit.enable", "false"),
    ("client.certReload", "false"),
    ("client.portUnification", "false"),
    ("clientTcpKeepAlive", "true"),
    ("closeSessionTxn.enabled", "true"),
    ("follower.nodelay", "true"),
    ("forceSnapshotSync", "false"),
    ("jvm.pause.monitor", "false"),
    ("leader.nodelay", "true"),
    ("leaderServes", "yes"),
    ("maxGetChildrenResponseCacheSize", "0"),
    ("maxResponseCacheSize", "0"),
    ("messageTracker.Enabled", "false"),
    ("metricsProvider.className", "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider"),
    ("observer.syncEnabled", "true"),
    ("pathStats.enabled", "false"),
    ("portUnification", "false"),
    ("quorum.auth.enableSasl", "false"),
    ("quorum.auth.learnerRequireSasl", "false"),
    ("quorum.auth.serverRequireSasl", "false"),
    ("sessionRequireClientSASLAuth", "false"),
    ("sslQuorum", "false"),
    ("sslQuorumReloadCertFiles", "false"),
    ("syncEnabled", "true"),
    ("tcpKeepAlive", "true"),
];

/// Keys without effect here whose values have to be numbers for ZooKeeper to start.
pub(super) const NUMBERS: &[&str] = &[
    "connectToLearnerMasterLimit",
    "jvm.pause.info-threshold.ms",
    "jvm.pause.sleep.time.ms",
    "jvm.pause.warn-threshold.ms",
    "multiAddress.reachabilityCheckTimeoutMs",
    "quorum.cnxn.threads.size",
];

/// Keys without effect here whose values have to be booleans for ZooKeeper to start.
pub(super) const BOOLEANS: &[&str] = &[
    "jvm.pause.monitor",
    "multiAddress.reachabilityCheckEnabled",
    "portUnification",
    "quorum.auth.enableSasl",
    "quorum.auth.learnerRequireSasl",
    "quorum.auth.serverRequireSasl",
    "sslQuorum",
    "sslQuorumReloadCertFiles",
    "syncEnabled",
];

/// Keys that ask for protection: refused, or without effect if their value is `false`.
const PROTECTION: &[Key] = &[
    file("portUnification"),
    file("quorum.auth.enableSasl"),
    file("quorum.auth.learnerRequireSasl"),
    file("quorum.auth.serverRequireSasl"),
    file("secureClientPort"),
    file("secureClientPortAddress"),
    property("sessionRequireClientSASLAuth"),
    file("sslQuorum"),
];

/// Families of keys without effect.
const FAMILIES: &[&str] = &["admin.", "metricsProvider.", "ssl.", "jvm.pause.", "nio.", "netty."];

/// Keys without effect here.
const NO_EFFECT: &[Key] = &[
    property("IPAuthenticationProvider.usexforwardedfor"),
    property("SASLAuthenticationProvider.superPassword"),
    property("admin.commandURL"),
    property("admin.enableServer"),
    property("admin.httpVersion"),
    property("admin.idleTimeout"),
    property("admin.portUnification"),
    property("admin.rateLimiterIntervalInMS"),
    property("admin.restore.enabled"),
    property("admin.serverAddress"),
    property("admin.serverPort"),
    property("admin.snapshot.enabled"),
    property("allowSaslFailedClients"),
    property("audit.enable"),
    property("audit.impl.class"),
    property("bitHashCacheSize"),
    property("client.certReload"),
    property("client.portUnification"),
    property("clientTcpKeepAlive"),
    property("closeSessionTxn.enabled"),
    property("commitProcessor.maxCommitBatchSize"),
    property("commitProcessor.maxReadBatchSize"),
    property("commitProcessor.numWorkerThreads"),
    property("commitProcessor.shutdownTimeout"),
    file("connectToLearnerMasterLimit"),
    property("enableEagerACLCheck"),
    property("ensembleAuthName"),
    property("fips-mode"),
    property("flushDelay"),
    flag("follower.nodelay"),
    property("follower.skipLearnerRequestToNextProcessor"),
    property("forceSnapshotSync"),
    property("forward_learner_requests_to_commit_processor_disabled"),
    property("initialConfig"),
    property("intBufferStartingSizeBytes"),
    file("jvm.pause.info-threshold.ms"),
    file("jvm.pause.monitor"),
    file("jvm.pause.sleep.time.ms"),
    file("jvm.pause.warn-threshold.ms"),
    property("kerberos.removeHostFromPrincipal"),
    property("kinit"),
    property("leader.ackLoggingFrequency"),
    property("leader.closeSocketAsync"),
    property("leader.maxConcurrentDiffSyncs"),
    property("leader.maxConcurrentSnapSyncs"),
    property("leader.maxTimeToWaitForEpoch"),
    flag("leader.nodelay"),
    property("leaderConnectDelayDuringRetryMs"),
    property("leaderServes"),
    property("learner.asyncSending"),
    property("learner.closeSocketAsync"),
    property("letAnySaslUserDoX"),
    property("maxBatchSize"),
    property("maxGetChildrenResponseCacheSize"),
    property("maxResponseCacheSize"),
    property("maxWriteQueuePollTime"),
    property("messageTracker.BufferSize"),
    property("messageTracker.Enabled"),
    file("metricsProvider.className"),
    both("multiAddress.reachabilityCheckEnabled"),
    both("multiAddress.reachabilityCheckTimeoutMs"),
    property("netty.advancedFlowControl.enabled"),
    property("netty.server.earlyDropSecureConnectionHandshakes"),
    property("netty.server.outstandingHandshake.limit"),
    property("nio.directBufferBytes"),
    property("nio.numSelectorThreads"),
    property("nio.shutdownTimeout"),
    property("observer.election.DelayMs"),
    property("observer.reconnectDelayMs"),
    property("observer.syncEnabled"),
    property("observerMaster.sizeLimit"),
    file("oraclePath"),
    property("pathStats.enabled"),
    file("quorum.auth.kerberos.servicePrincipal"),
    file("quorum.auth.learner.saslLoginContext"),
    file("quorum.auth.server.saslLoginContext"),
    file("quorum.cnxn.threads.size"),
    property("quorumCnxnTimeoutMs"),
    property("request_stale_connection_check"),
    property("request_throttle_drop_stale"),
    property("request_throttle_stall_time"),
    property("request_throttler.shutdownTimeout"),
    property("requireKerberosConfig"),
    property("sasl.serverconfig"),
    property("security.auth_to_local"),
    property("serverCnxnFactory"),
    file("sslQuorumReloadCertFiles"),
    property("superUser"),
    file("syncEnabled"),
    property("tcpKeepAlive"),
    property("test.allowDiscontinuousProposals"),
    property("testingonly.initialZxid"),
    property("watchManagerName"),
    property("watcherCleanIntervalInSeconds"),
    property("watcherCleanThreadsNum"),
    property("watcherCleanThreshold"),
];

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn every_key_is_in_one_sorted_table() {
        let mut all = Vec::new();
        for table in settings::KEYS.into_iter().chain([NO_EFFECT, PROTECTION]) {
            assert!(table.is_sorted_by_key(|key| key.name), "{table:?}");
            all.extend(table.iter().map(|key| key.name));
        }
        assert!(DONE_ANYWAY.is_sorted());
        all.sort_unstable();
        let twice = all.windows(2).find(|pair| pair[0] == pair[1]);
        assert_eq!(twice, None);
    }

    #[test]
    fn value_that_asks_for_the_default_gives_no_warning() {
        for (key, value) in DONE_ANYWAY {
            assert_eq!(judge(key, value), Verdict::Used, "{key}={value}");
            assert_ne!(judge(key, "another"), Verdict::Used, "{key}: only with this value");
            assert_ne!(judge(key, "another"), Verdict::Unknown, "{key} is ZooKeeper's");
        }
        assert_eq!(judge("admin.enableServer", "FALSE"), Verdict::Used);
    }
}
