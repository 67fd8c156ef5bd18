//! Which keys there are: read here, known to ZooKeeper but without effect here, or refused
//! because to ignore them would weaken security.

/// The verdict on a setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It is read.
    Used,
    /// ZooKeeper knows it; here it does nothing.
    NoEffect,
    /// It promises protection that is not there.
    Refused,
    /// Nobody knows it.
    Unknown,
}

/// What keys that name a provider of authentication begin with.
pub(super) const PROVIDER: &str = "authProvider.";
/// The providers of the schemes that are here, by the names of Java's classes.
const PROVIDERS: [&str; 3] = [DIGEST_PROVIDER, IP_PROVIDER, X509_PROVIDER];
pub(super) const DIGEST_PROVIDER: &str =
    "org.apache.zookeeper.server.auth.DigestAuthenticationProvider";
const IP_PROVIDER: &str = "org.apache.zookeeper.server.auth.IPAuthenticationProvider";
pub(super) const X509_PROVIDER: &str =
    "org.apache.zookeeper.server.auth.X509AuthenticationProvider";

/// Where ZooKeeper reads a setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Home {
    /// Out of `zoo.cfg`, whatever the JVM is told.
    File,
    /// As `zookeeper.KEY` of the JVM, which a line of `zoo.cfg` sets.
    Property,
    /// As `KEY` of the JVM, which no line of `zoo.cfg` sets.
    Flag,
    /// Out of `zoo.cfg`, or as `zookeeper.KEY` of the JVM.
    Both,
}

/// Where a key is read.
pub(super) fn home(key: &str) -> Home {
    if FLAGS.binary_search(&key).is_ok() {
        Home::Flag
    } else if key.starts_with("multiAddress.") {
        Home::Both
    } else if FILE.binary_search(&key).is_ok()
        || key.starts_with("metricsProvider.")
        || is_of_ensemble(key)
    {
        Home::File
    } else {
        Home::Property
    }
}

/// Whether a key is a line about a member, a group or a weight.
pub(super) fn is_of_ensemble(key: &str) -> bool {
    ["server.", "group", "weight"].iter().any(|prefix| key.starts_with(prefix))
}

/// Judges one setting by its key, without `zookeeper.`.
pub(super) fn judge(key: &str, value: &str) -> Verdict {
    // A mistyped "true" was meant to protect.
    let on = !value.eq_ignore_ascii_case("false");
    let protects = match key {
        "secureClientPort" | "secureClientPortAddress" => true,
        "sslQuorum"
        | "portUnification"
        | "quorum.auth.enableSasl"
        | "quorum.auth.learnerRequireSasl"
        | "quorum.auth.serverRequireSasl"
        | "sessionRequireClientSASLAuth" => on,
        _ => key.starts_with(PROVIDER) && !PROVIDERS.contains(&value),
    };
    if protects {
        return Verdict::Refused;
    }
    if key.starts_with(PROVIDER) || USED.binary_search(&key).is_ok() || is_done_anyway(key, value) {
        return Verdict::Used;
    }
    let family = |prefix: &&str| key.starts_with(*prefix);
    if NO_EFFECT.binary_search(&key).is_ok()
        || FAMILIES.iter().any(family)
        || SWITCHES.contains(&key)
    {
        return Verdict::NoEffect;
    }
    Verdict::Unknown
}

/// Whether the value asks for what is done here whatever the key says: nobody needs to be told
/// that it has no effect.
fn is_done_anyway(key: &str, value: &str) -> bool {
    DONE_ANYWAY.iter().any(|(known, done)| *known == key && value.eq_ignore_ascii_case(done))
}

/// Keys without effect, and the values that ask for what is done anyway; sorted.
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

/// Keys without effect here whose value ZooKeeper takes for a number, and refuses if it is none.
pub(super) const NUMBERS: &[&str] = &[
    "connectToLearnerMasterLimit",
    "jvm.pause.info-threshold.ms",
    "jvm.pause.sleep.time.ms",
    "jvm.pause.warn-threshold.ms",
    "multiAddress.reachabilityCheckTimeoutMs",
    "quorum.cnxn.threads.size",
];

/// The same for switches.
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

/// Read without the prefix `zookeeper.`, sorted.
const FLAGS: &[&str] = &[
    "follower.nodelay",
    "jute.maxbuffer",
    "leader.nodelay",
    "readonlymode.enabled",
    "znode.container.checkIntervalMs",
    "znode.container.maxNeverUsedIntervalMs",
    "znode.container.maxPerMinute",
];

/// Read out of `zoo.cfg` only, sorted.
const FILE: &[&str] = &[
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
    "jvm.pause.info-threshold.ms",
    "jvm.pause.monitor",
    "jvm.pause.sleep.time.ms",
    "jvm.pause.warn-threshold.ms",
    "localSessionsEnabled",
    "localSessionsUpgradingEnabled",
    "maxClientCnxns",
    "maxSessionTimeout",
    "minSessionTimeout",
    "observerMasterPort",
    "oraclePath",
    "peerType",
    "portUnification",
    "quorum.auth.enableSasl",
    "quorum.auth.kerberos.servicePrincipal",
    "quorum.auth.learner.saslLoginContext",
    "quorum.auth.learnerRequireSasl",
    "quorum.auth.server.saslLoginContext",
    "quorum.auth.serverRequireSasl",
    "quorum.cnxn.threads.size",
    "quorumListenOnAllIPs",
    "reconfigEnabled",
    "secureClientPort",
    "secureClientPortAddress",
    "sslQuorum",
    "sslQuorumReloadCertFiles",
    "standaloneEnabled",
    "syncEnabled",
    "syncLimit",
    "tickTime",
    "version",
];

/// Refused where they promise protection, else without effect.
const SWITCHES: &[&str] = &[
    "sslQuorum",
    "portUnification",
    "quorum.auth.enableSasl",
    "quorum.auth.learnerRequireSasl",
    "quorum.auth.serverRequireSasl",
    "sessionRequireClientSASLAuth",
];

/// Whole families of keys without effect.
const FAMILIES: &[&str] = &["admin.", "metricsProvider.", "ssl.", "jvm.pause.", "nio.", "netty."];

/// Read by this server, sorted.
const USED: &[&str] = &[
    "4lw.commands.whitelist",
    "DigestAuthenticationProvider.digestAlg",
    "DigestAuthenticationProvider.enabled",
    "DigestAuthenticationProvider.superDigest",
    "X509AuthenticationProvider.superUser",
    "autopurge.purgeInterval",
    "autopurge.snapRetainCount",
    "clientPort",
    "clientPortAddress",
    "clientPortListenBacklog",
    "cnxTimeout",
    "commitLogCount",
    "connection_throttle_decrease_ratio",
    "connection_throttle_drop_decrease",
    "connection_throttle_drop_increase",
    "connection_throttle_fill_count",
    "connection_throttle_fill_time",
    "connection_throttle_freeze_time",
    "connection_throttle_global_session_weight",
    "connection_throttle_local_session_weight",
    "connection_throttle_renew_session_weight",
    "connection_throttle_tokens",
    "connection_throttle_weight_enabled",
    "dataDir",
    "dataLogDir",
    "datadir.autocreate",
    "db.autocreate",
    "digest.enabled",
    "dynamicConfigFile",
    "electionAlg",
    "electionPortBindRetry",
    "emulate353TTLNodes",
    "enforce.auth.enabled",
    "enforce.auth.schemes",
    "enforceQuota",
    "extendedTypesEnabled",
    "fastleader.maxNotificationInterval",
    "fastleader.minNotificationInterval",
    "forceSync",
    "fsync.warningthresholdms",
    "globalOutstandingLimit",
    "initLimit",
    "jute.maxbuffer",
    "jute.maxbuffer.extrasize",
    "largeRequestMaxBytes",
    "largeRequestThreshold",
    "localSessionsEnabled",
    "localSessionsUpgradingEnabled",
    "maxClientCnxns",
    "maxCnxns",
    "maxSessionTimeout",
    "minSessionTimeout",
    "multiAddress.enabled",
    "nio.sessionlessCnxnTimeout",
    "observerMasterPort",
    "peerType",
    "preAllocSize",
    "protectSystemNodes",
    "quorumListenOnAllIPs",
    "readonlymode.enabled",
    "reconfigEnabled",
    "request_throttle_max_requests",
    "serializeLastProcessedZxid.enabled",
    "skipACL",
    "snapCount",
    "snapSizeLimitInKb",
    "snapshot.compression.method",
    "snapshot.trust.empty",
    "snapshotSizeFactor",
    "standaloneEnabled",
    "syncLimit",
    "syncNeedsQuorum",
    "throttled_op_wait_time",
    "tickTime",
    "turnBudget",
    "txnLogSizeLimitInKb",
    "version",
    "znode.container.checkIntervalMs",
    "znode.container.maxNeverUsedIntervalMs",
    "znode.container.maxPerMinute",
];

/// Of ZooKeeper 3.9, without effect here, sorted.
const NO_EFFECT: &[&str] = &[
    "IPAuthenticationProvider.usexforwardedfor",
    "SASLAuthenticationProvider.superPassword",
    "admin.commandURL",
    "admin.enableServer",
    "admin.httpVersion",
    "admin.idleTimeout",
    "admin.portUnification",
    "admin.rateLimiterIntervalInMS",
    "admin.restore.enabled",
    "admin.serverAddress",
    "admin.serverPort",
    "admin.snapshot.enabled",
    "allowSaslFailedClients",
    "audit.enable",
    "audit.impl.class",
    "bitHashCacheSize",
    "client.certReload",
    "client.portUnification",
    "clientTcpKeepAlive",
    "closeSessionTxn.enabled",
    "commitProcessor.maxCommitBatchSize",
    "commitProcessor.maxReadBatchSize",
    "commitProcessor.numWorkerThreads",
    "commitProcessor.shutdownTimeout",
    "connectToLearnerMasterLimit",
    "enableEagerACLCheck",
    "ensembleAuthName",
    "fips-mode",
    "flushDelay",
    "follower.nodelay",
    "follower.skipLearnerRequestToNextProcessor",
    "forceSnapshotSync",
    "forward_learner_requests_to_commit_processor_disabled",
    "initialConfig",
    "intBufferStartingSizeBytes",
    "jvm.pause.info-threshold.ms",
    "jvm.pause.monitor",
    "jvm.pause.sleep.time.ms",
    "jvm.pause.warn-threshold.ms",
    "kerberos.removeHostFromPrincipal",
    "kinit",
    "leader.ackLoggingFrequency",
    "leader.closeSocketAsync",
    "leader.maxConcurrentDiffSyncs",
    "leader.maxConcurrentSnapSyncs",
    "leader.maxTimeToWaitForEpoch",
    "leader.nodelay",
    "leaderConnectDelayDuringRetryMs",
    "leaderServes",
    "learner.asyncSending",
    "learner.closeSocketAsync",
    "letAnySaslUserDoX",
    "maxBatchSize",
    "maxGetChildrenResponseCacheSize",
    "maxResponseCacheSize",
    "maxWriteQueuePollTime",
    "messageTracker.BufferSize",
    "messageTracker.Enabled",
    "metricsProvider.className",
    "multiAddress.reachabilityCheckEnabled",
    "multiAddress.reachabilityCheckTimeoutMs",
    "netty.advancedFlowControl.enabled",
    "netty.server.earlyDropSecureConnectionHandshakes",
    "netty.server.outstandingHandshake.limit",
    "nio.directBufferBytes",
    "nio.numSelectorThreads",
    "nio.shutdownTimeout",
    "observer.election.DelayMs",
    "observer.reconnectDelayMs",
    "observer.syncEnabled",
    "observerMaster.sizeLimit",
    "oraclePath",
    "pathStats.enabled",
    "quorum.auth.kerberos.servicePrincipal",
    "quorum.auth.learner.saslLoginContext",
    "quorum.auth.server.saslLoginContext",
    "quorum.cnxn.threads.size",
    "quorumCnxnTimeoutMs",
    "request_stale_connection_check",
    "request_throttle_drop_stale",
    "request_throttle_stall_time",
    "request_throttler.shutdownTimeout",
    "requireKerberosConfig",
    "sasl.serverconfig",
    "security.auth_to_local",
    "serverCnxnFactory",
    "sslQuorumReloadCertFiles",
    "superUser",
    "syncEnabled",
    "tcpKeepAlive",
    "test.allowDiscontinuousProposals",
    "testingonly.initialZxid",
    "watchManagerName",
    "watcherCleanIntervalInSeconds",
    "watcherCleanThreadsNum",
    "watcherCleanThreshold",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted_and_share_nothing() {
        let tables = [USED, NO_EFFECT, FLAGS, FILE];
        assert!(tables.iter().all(|table| table.is_sorted()) && DONE_ANYWAY.is_sorted());
        assert!(USED.iter().all(|key| NO_EFFECT.binary_search(key).is_err()));
    }

    #[test]
    fn a_value_that_asks_for_what_is_done_anyway_has_its_effect() {
        for (key, value) in DONE_ANYWAY {
            assert_eq!(judge(key, value), Verdict::Used, "{key}={value}");
            assert_ne!(judge(key, "another"), Verdict::Used, "{key}: only with this value");
            assert_ne!(judge(key, "another"), Verdict::Unknown, "{key} is ZooKeeper's");
        }
        assert_eq!(judge("admin.enableServer", "FALSE"), Verdict::Used);
    }
}
