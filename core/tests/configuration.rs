//! What counts in a configuration, held against Apache ZooKeeper's answers: its answers are kept
//! in `testdata/configuration.tsv`, which `interop/configuration` asks it for.

use std::collections::{BTreeMap, BTreeSet};

use zabkeeper_core::access::Access;
use zabkeeper_core::admin::Whitelist;
use zabkeeper_core::config::{Config, Sources, decode};
use zabkeeper_core::wire::Word;

const ANSWERS: &str = include_str!("../testdata/configuration.tsv");

type Counts = BTreeMap<String, String>;

/// One row: what was asked, and what ZooKeeper makes of it.
struct Case {
    base: &'static str,
    lines: String,
    flags: Vec<(String, String)>,
    /// None: it does not start.
    answer: Option<Counts>,
}

/// `%XX` is a byte.
fn bytes(text: &str) -> Vec<u8> {
    let mut parts = text.split('%');
    let mut all = Vec::from(parts.next().unwrap_or_default());
    for part in parts {
        all.push(u8::from_str_radix(&part[..2], 16).expect("two digits"));
        all.extend_from_slice(&part.as_bytes()[2..]);
    }
    all
}

fn utf8(text: &str) -> String {
    String::from_utf8(bytes(text)).expect("UTF-8")
}

fn cases() -> Vec<Case> {
    let mut plain: BTreeMap<&str, Counts> = BTreeMap::new();
    let rows = ANSWERS.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| {
        let mut cells = row.split('\t');
        let mut cell = || cells.next().expect("a cell");
        let (base, lines, flags, outcome) = (cell(), decode(&bytes(cell())), cell(), cell());
        let flags = flags.split(' ').filter(|flag| !flag.is_empty()).map(|flag| {
            let flag = decode(&bytes(flag));
            let (name, value) = flag[2..].split_once('=').unwrap_or((&flag[2..], ""));
            (name.to_string(), value.to_string())
        });
        let flags = flags.collect();
        let answer = (outcome == "ok").then(|| {
            let compared = match base {
                "bare" => "alone",
                "one" | "dynamic" => "member",
                other => other,
            };
            let mut counts = plain.get(compared).cloned().unwrap_or_default();
            for cell in cells {
                let (key, value) = cell.split_once('=').expect("key=value");
                counts.insert(key.to_string(), utf8(value).replace('@', ""));
            }
            plain.entry(base).or_insert_with(|| counts.clone());
            counts
        });
        Case { base, lines, flags, answer }
    })
    .collect()
}

/// The same in the words of `interop/configuration/cases.py`.
fn files(case: &Case) -> (String, Option<String>) {
    let limits = "dataDir=@/d\ninitLimit=5\nsyncLimit=2\n";
    let members = "server.1=127.0.0.1:2888:3888\nserver.2=127.0.0.1:2889:3889\nserver.3=127.0.0.1:2890:3890\n";
    let head = match case.base {
        "alone" => "dataDir=@/d\nclientPort=2181\n".to_string(),
        "member" => format!("{limits}clientPort=2181\n{members}"),
        "bare" => String::new(),
        "one" => format!("{limits}standaloneEnabled=false\n"),
        "dynamic" => format!("{limits}dynamicConfigFile=@/zoo.cfg.dynamic\n"),
        other => panic!("{other}"),
    };
    let placed = |text: String| text.replace('@', "");
    match case.base {
        "dynamic" => (placed(head), Some(placed(case.lines.clone()))),
        _ => (placed(head + &case.lines), None),
    }
}

fn ours(case: &Case) -> Result<(Config, Vec<String>), String> {
    let (text, dynamic) = files(case);
    let at_home =
        Config::data_dir(&text).is_some_and(|dir| matches!(&*dir, "/d" | "/d/" | "//d" | "/d/."));
    let sources = Sources {
        name: "zoo.cfg",
        text: &text,
        flags: &case.flags,
        my_id: at_home.then_some("1"),
        dynamic: dynamic.as_deref().map(|text| ("/zoo.cfg.dynamic", text)),
        next: None,
    };
    match Config::read(&sources) {
        Ok((config, warnings)) => Ok((config, warnings.iter().map(ToString::to_string).collect())),
        Err(error) => Err(error.to_string()),
    }
}

/// What counts here, in ZooKeeper's words.
fn counts(config: &Config) -> Counts {
    let mut all = Counts::new();
    let mut put = |key: &str, value: String| {
        all.insert(key.to_string(), value);
    };
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_string());
    put("dataDir", config.storage.data_dir.clone());
    put("dataLogDir", config.storage.data_log_dir.clone());
    put(
        "clientPort",
        config.network.client_port.map_or("none".to_string(), |port| port.to_string()),
    );
    put(
        "clientPortAddress",
        match (&config.network.client_port, &config.network.client_port_address) {
            (None, _) => "none".to_string(),
            (_, None) => "any".to_string(),
            (_, Some(address)) => address.clone(),
        },
    );
    put("clientPortListenBacklog", config.network.listen_backlog.to_string());
    put("tickTime", config.sessions.tick_time_ms.to_string());
    put("minSessionTimeout", config.sessions.min_timeout_ms.to_string());
    put("maxSessionTimeout", config.sessions.max_timeout_ms.to_string());
    put("maxClientCnxns", config.limits.max_client_connections.to_string());
    put("maxCnxns", config.limits.max_connections.to_string());
    put("initLimit", config.quorum.init_limit.to_string());
    put("syncLimit", config.quorum.sync_limit.to_string());
    put("distributed", config.ensemble.is_some().to_string());
    if let Some(ensemble) = &config.ensemble {
        put("serverId", config.my_id.to_string());
        put("members", sorted(&ensemble.to_text()));
        put("cnxTimeout", config.network.cnx_timeout_ms.to_string());
        put("electionPortBindRetry", config.network.election_bind_retries.to_string());
        put("fastleader.minNotificationInterval", config.quorum.min_notification_ms.to_string());
        put("fastleader.maxNotificationInterval", config.quorum.max_notification_ms.to_string());
    }
    put("reconfigEnabled", config.quorum.reconfig_enabled.to_string());
    put("standaloneEnabled", config.quorum.standalone_enabled.to_string());
    put("quorumListenOnAllIPs", config.network.quorum_listen_on_all_ips.to_string());
    put("observerMasterPort", config.network.observer_master_port.unwrap_or(0).to_string());
    put("autopurge.snapRetainCount", config.storage.purge_retain_count.to_string());
    put("autopurge.purgeInterval", config.storage.purge_interval_hours.to_string());
    let whitelist = Whitelist::parse(
        config.security.four_letter_whitelist.as_deref(),
        config.sessions.read_only_mode,
    );
    let words: BTreeSet<&str> =
        Word::ALL.iter().filter(|word| whitelist.allows(**word)).map(|word| word.name()).collect();
    put("4lw.commands.whitelist", Vec::from_iter(words).join(","));
    put("readonlymode.enabled", config.sessions.read_only_mode.to_string());
    put("localSessionsEnabled", config.sessions.local_sessions.to_string());
    put("localSessionsUpgradingEnabled", config.sessions.upgrades_local_sessions.to_string());
    put("snapCount", config.storage.snap_count.to_string());
    put("snapSizeLimitInKb", config.storage.snap_size_limit_kb.to_string());
    put("txnLogSizeLimitInKb", config.storage.txn_log_size_limit_kb.to_string());
    put("preAllocSize", config.storage.pre_alloc_size_kb.to_string());
    put("forceSync", config.storage.force_sync.to_string());
    put("commitLogCount", config.quorum.commit_log_count.to_string());
    put("snapshotSizeFactor", format!("{:?}", config.quorum.snapshot_size_factor));
    put("snapshot.compression.method", config.storage.snapshot_compression.clone());
    put("fsync.warningthresholdms", config.storage.slow_sync_ms.to_string());
    put("snapshot.trust.empty", config.storage.trust_empty_snapshot.to_string());
    put("db.autocreate", config.storage.db_autocreate.to_string());
    put("datadir.autocreate", config.storage.datadir_autocreate.to_string());
    put("digest.enabled", config.tree.digest_enabled.to_string());
    put("scheme.digest", config.security.digest_auth.to_string());
    put("scheme.x509", config.security.x509_auth.to_string());
    let access = Access { digest_algorithm: config.security.digest_algorithm, ..Access::default() };
    let ids = access.authenticate("digest", Some(b"u:p"), [127, 0, 0, 1].into(), &[]).expect("ids");
    put("DigestAuthenticationProvider.digestAlg", ids[0].id.to_string());
    put("DigestAuthenticationProvider.superDigest", or_none(&config.security.super_digest));
    put("X509AuthenticationProvider.superUser", or_none(&config.security.x509_super_user));
    let enforced = config.security.enforced_schemes.join(",");
    put("enforce.auth.schemes", if enforced.is_empty() { "none".to_string() } else { enforced });
    put(
        "largeRequestThreshold",
        config.limits.large_request_bytes.map_or("-1".to_string(), |n| n.to_string()),
    );
    put("largeRequestMaxBytes", config.limits.large_requests_max_bytes.to_string());
    put("skipACL", config.security.skip_acl.to_string());
    put("jute.maxbuffer", config.limits.jute_max_buffer.to_string());
    put("jute.maxbuffer.extrasize", config.limits.jute_extra_size.to_string());
    put("request_throttle_max_requests", config.limits.max_requests.to_string());
    put("throttled_op_wait_time", config.limits.throttled_op_wait_ms.to_string());
    put("globalOutstandingLimit", config.limits.global_outstanding_limit.to_string());
    put("nio.sessionlessCnxnTimeout", config.network.sessionless_timeout_ms.to_string());
    put("extendedTypesEnabled", config.tree.extended_types.to_string());
    put("emulate353TTLNodes", config.tree.emulate_353.to_string());
    put("enforceQuota", config.tree.enforce_quota.to_string());
    put("znode.container.checkIntervalMs", config.tree.reap_interval_ms.to_string());
    put("znode.container.maxPerMinute", config.tree.reap_per_minute.to_string());
    put("znode.container.maxNeverUsedIntervalMs", config.tree.reap_never_used_ms.to_string());
    put("serializeLastProcessedZxid.enabled", config.storage.serialize_last_zxid.to_string());
    if let Some(throttle) = &config.limits.connection_throttle {
        let name = |name: &str| format!("connection_throttle_{name}");
        put(&name("tokens"), throttle.tokens.to_string());
        put(&name("fill_time"), throttle.fill_ms.to_string());
        put(&name("fill_count"), throttle.fill_count.to_string());
        put(&name("freeze_time"), throttle.freeze_ms.map_or("-1".to_string(), |ms| ms.to_string()));
        put(&name("drop_increase"), format!("{:?}", throttle.drop_increase));
        put(&name("drop_decrease"), format!("{:?}", throttle.drop_decrease));
        put(&name("decrease_ratio"), format!("{:?}", throttle.decrease_ratio));
        put(&name("global_session_weight"), throttle.weights.global.to_string());
        put(&name("renew_session_weight"), throttle.weights.renew.to_string());
        put(&name("local_session_weight"), throttle.weights.local.to_string());
    } else {
        put("connection_throttle_tokens", "0".to_string());
    }
    all
}

fn sorted(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// The spellings of one meaning as one.
fn meaning(key: &str, value: &str) -> String {
    let number = value.parse::<i128>();
    match (key, number) {
        // What is negative switches it off, as 0 does.
        (
            "maxClientCnxns" | "autopurge.purgeInterval" | "request_throttle_max_requests",
            Ok(..0),
        )
        | ("throttled_op_wait_time" | "connection_throttle_tokens" | "preAllocSize", Ok(..0))
        | ("fsync.warningthresholdms" | "minSessionTimeout" | "globalOutstandingLimit", Ok(..0)) => {
            "0".to_string()
        }
        ("txnLogSizeLimitInKb", Ok(..=0)) => "off".to_string(),
        // There is no limit then.
        ("znode.container.maxPerMinute", Ok(..0)) => u64::MAX.to_string(),
        // More than all, and less than nothing.
        ("connection_throttle_drop_increase" | "connection_throttle_drop_decrease", _)
        | ("connection_throttle_decrease_ratio", _) => {
            format!("{:?}", value.parse::<f64>().expect("a fraction").clamp(0.0, 1.0))
        }
        ("clientPortAddress", _) if value == "localhost" => "127.0.0.1".to_string(),
        ("clientPortAddress" | "members", _) => value.replace("0:0:0:0:0:0:0:1", "::1"),
        ("dataDir" | "dataLogDir", _) => value.trim_end_matches('/').replace("//", "/"),
        ("4lw.commands.whitelist", _) => {
            let known = |name: &&str| Word::ALL.iter().any(|word| word.name() == *name);
            Vec::from_iter(value.split(',').filter(known)).join(",")
        }
        _ => value.to_string(),
    }
}

/// ZooKeeper keeps this one in bytes.
fn of_zookeeper(key: &str, value: &str) -> String {
    match (key, value.parse::<i64>()) {
        ("txnLogSizeLimitInKb", Ok(bytes @ 1..)) => (bytes / 1024).to_string(),
        _ => value.to_string(),
    }
}

/// Where it is another meaning here, on purpose: what the lines or flags hold, and why.
/// COMPATIBILITY.md has the same.
const DECISIONS: &[(&str, &str)] = &[
    ("tickTime=2147483647\n", "the limits of sessions stay within their bounds"),
    ("initLimit=-", "a learner could never join"),
    ("syncLimit=-", "a learner could never follow"),
    ("observerMasterPort=2147483647", "there is no such port"),
    ("nio.sessionlessCnxnTimeout=-", "no client could connect"),
    ("fastleader.minNotificationInterval=", "1 ms is the least"),
    ("fastleader.maxNotificationInterval=", "1 ms is the least"),
    ("cnxTimeout=", "no member could be dialled, or for ever"),
    ("snapshotSizeFactor=NaN", "it is no number"),
    ("=NaN", "it is no number"),
    ("jute.maxbuffer=", "no frame could be read"),
    ("readonlymode.enabled=TRUE", "isro is enabled with it in any spelling"),
    ("127.0.0.1:0:3888", "nobody could find the member"),
    ("127.0.0.1:2888:0", "nobody could find the member"),
    ("127.0.0.1:2888:3888 ;2181", "blanks in a member's line do no harm"),
    ("127.0.0.1 : 2888 : 3888", "blanks in a member's line do no harm"),
    ("127.0.0.1:2888:3888; 2181", "blanks in a member's line do no harm"),
    ("weight.1=-1", "no weight is negative"),
    ("server.2=127.0.0.1:2889:3889\n", "a server that is no member serves nobody"),
    ("digestAlg=SHA-512/256", "not one of those that are here"),
    ("digestAlg=MD5", "not one of those that are here"),
    ("authProvider.1=", "to ignore it would not be safe"),
    ("enforce.auth.enabled=yes", "what was meant to protect is not taken for its opposite"),
];

/// What the runtimes look at, and a member with several addresses.
const ELSEWHERE: [&str; 4] = [
    "dynamicConfigFile=@/missing",
    "clientPortAddress=no-such-host.invalid",
    "clientPortAddress=127.0.0.1:2181",
    "127.0.0.1:2888:3888|127.0.0.2",
];

fn difference(case: &Case) -> Option<String> {
    match (ours(case), &case.answer) {
        (Err(_), None) => None,
        (Ok(_), None) => Some("starts here".to_string()),
        (Err(error), Some(_)) => Some(format!("refused here: {error}")),
        (Ok((config, _)), Some(answer)) => {
            let other = counts(&config).into_iter().filter_map(|(key, here)| {
                let there = of_zookeeper(&key, answer.get(&key)?);
                (meaning(&key, &here) != meaning(&key, &there))
                    .then(|| format!("{key} is {here} here, {there} there"))
            });
            Some(Vec::from_iter(other).join("; ")).filter(|all| !all.is_empty())
        }
    }
}

#[test]
fn what_counts_is_what_counts_in_zookeeper() {
    let cases = cases();
    assert!(cases.len() > 1000, "{}", cases.len());
    let mut undecided = Vec::new();
    let mut needed = BTreeSet::new();
    for case in cases {
        let flags: Vec<String> = case.flags.iter().map(|(n, v)| format!("{n}={v}\n")).collect();
        let asked = format!("{}{}", case.lines, flags.concat());
        if ELSEWHERE.iter().any(|text| asked.contains(text)) {
            continue;
        }
        let Some(difference) = difference(&case) else { continue };
        match DECISIONS.iter().find(|(text, _)| asked.contains(text)) {
            Some((text, _)) => {
                needed.insert(*text);
            }
            None => undecided.push(format!("{} {asked:?}: {difference}", case.base)),
        }
    }
    assert!(undecided.is_empty(), "{}", undecided.join("\n"));
    for (text, why) in DECISIONS {
        assert!(needed.contains(text), "{text}: it is as in ZooKeeper ({why})");
    }
}

/// Keys that ZooKeeper does not have.
const OWN: [&str; 3] = ["protectSystemNodes", "syncNeedsQuorum", "turnBudget"];

/// Each key that COMPATIBILITY.md says is read was asked about.
#[test]
fn every_key_that_is_read_was_asked_about() {
    let text = include_str!("../../COMPATIBILITY.md");
    let section = text.split("\n## ").find(|s| s.starts_with("Keys of")).expect("the section");
    let mut missing = Vec::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let key = cells[1].trim_matches('`');
        if matches!(cells[2], "read" | "flag") && !OWN.contains(&key) {
            let stem = key.trim_end_matches("NAME").trim_end_matches(['N', 'G']);
            let is_asked =
                |row: &str| row.split('\t').skip(1).take(2).any(|cell| cell.contains(stem));
            if !ANSWERS.lines().filter(|row| !row.starts_with('#')).any(is_asked) {
                missing.push(key);
            }
        }
    }
    assert_eq!(missing, [""; 0]);
}
