//! The effect of settings, compared with Apache ZooKeeper's: its answers are kept in
//! `testdata/configuration.tsv`, which `interop/configuration` writes.

use std::collections::{BTreeMap, BTreeSet};

use zabkeeper_core::access::Access;
use zabkeeper_core::admin::Whitelist;
use zabkeeper_core::config::{
    Config, ConnectionThrottle, LimitsConfig, NetworkConfig, QuorumConfig, SecurityConfig,
    SessionConfig, Sources, StorageConfig, TreeConfig, decode,
};
use zabkeeper_core::wire::Word;

const ANSWERS: &str = include_str!("../testdata/configuration.tsv");

type Counts = BTreeMap<String, String>;

/// One row: a configuration, and ZooKeeper's answer.
struct Case {
    base: &'static str,
    lines: String,
    flags: Vec<(String, String)>,
    /// The effective settings; none if ZooKeeper does not start.
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

/// `zoo.cfg` and the dynamic file of a case, as `interop/configuration/cases.py` makes them.
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

/// The effective settings of this server, by ZooKeeper's keys.
#[derive(Default)]
struct Answers(Counts);

impl Answers {
    fn put(&mut self, key: &str, value: impl ToString) {
        self.0.insert(key.to_string(), value.to_string());
    }
}

fn answers(config: &Config) -> Counts {
    let mut all = Answers::default();
    storage(&config.storage, &mut all);
    sessions(&config.sessions, &mut all);
    network(&config.network, &mut all);
    quorum(&config.quorum, &mut all);
    security(&config.security, &mut all);
    limits(&config.limits, &mut all);
    tree(&config.tree, &mut all);
    let words = config.security.four_letter_whitelist.as_deref();
    let whitelist = Whitelist::parse(words, config.sessions.read_only_mode);
    let words = Word::ALL.iter().filter(|word| whitelist.allows(**word));
    let words: BTreeSet<&str> = words.map(|word| word.name()).collect();
    all.put("4lw.commands.whitelist", Vec::from_iter(words).join(","));
    all.put("distributed", config.ensemble.is_some());
    match &config.ensemble {
        Some(ensemble) => {
            all.put("serverId", config.my_id);
            all.put("members", sorted(&ensemble.to_text()));
        }
        None => MEMBERS_ONLY.iter().for_each(|key| {
            all.0.remove(*key);
        }),
    }
    all.0
}

/// Settings that ZooKeeper reports of members only.
const MEMBERS_ONLY: [&str; 4] = [
    "cnxTimeout",
    "electionPortBindRetry",
    "fastleader.maxNotificationInterval",
    "fastleader.minNotificationInterval",
];

fn storage(group: &StorageConfig, all: &mut Answers) {
    all.put("dataDir", &group.data_dir);
    all.put("dataLogDir", &group.data_log_dir);
    all.put("autopurge.snapRetainCount", group.purge_retain_count);
    all.put("autopurge.purgeInterval", group.purge_interval_hours);
    all.put("snapCount", group.snap_count);
    all.put("snapSizeLimitInKb", group.snap_size_limit_kb);
    all.put("txnLogSizeLimitInKb", group.txn_log_size_limit_kb);
    all.put("preAllocSize", group.pre_alloc_size_kb);
    all.put("forceSync", group.force_sync);
    all.put("snapshot.compression.method", &group.snapshot_compression);
    all.put("fsync.warningthresholdms", group.slow_sync_ms);
    all.put("snapshot.trust.empty", group.trust_empty_snapshot);
    all.put("db.autocreate", group.db_autocreate);
    all.put("datadir.autocreate", group.datadir_autocreate);
    all.put("serializeLastProcessedZxid.enabled", group.serialize_last_zxid);
}

fn sessions(group: &SessionConfig, all: &mut Answers) {
    all.put("tickTime", group.tick_time_ms);
    all.put("minSessionTimeout", group.min_timeout_ms);
    all.put("maxSessionTimeout", group.max_timeout_ms);
    all.put("readonlymode.enabled", group.read_only_mode);
    all.put("localSessionsEnabled", group.local_sessions);
    all.put("localSessionsUpgradingEnabled", group.upgrades_local_sessions);
}

fn network(group: &NetworkConfig, all: &mut Answers) {
    all.put("clientPortListenBacklog", group.listen_backlog);
    all.put("cnxTimeout", group.cnx_timeout_ms);
    all.put("electionPortBindRetry", group.election_bind_retries);
    all.put("quorumListenOnAllIPs", group.quorum_listen_on_all_ips);
    all.put("nio.sessionlessCnxnTimeout", group.sessionless_timeout_ms);
    let none = || "none".to_string();
    all.put("clientPort", group.client_port.map_or_else(none, |port| port.to_string()));
    let address = match (&group.client_port, &group.client_port_address) {
        (None, _) => "none",
        (_, None) => "any",
        (_, Some(address)) => address,
    };
    all.put("clientPortAddress", address);
    all.put("observerMasterPort", group.observer_master_port.unwrap_or(0));
}

fn quorum(group: &QuorumConfig, all: &mut Answers) {
    all.put("initLimit", group.init_limit);
    all.put("syncLimit", group.sync_limit);
    all.put("fastleader.minNotificationInterval", group.min_notification_ms);
    all.put("fastleader.maxNotificationInterval", group.max_notification_ms);
    all.put("reconfigEnabled", group.reconfig_enabled);
    all.put("standaloneEnabled", group.standalone_enabled);
    all.put("commitLogCount", group.commit_log_count);
    all.put("snapshotSizeFactor", format!("{:?}", group.snapshot_size_factor));
}

fn security(group: &SecurityConfig, all: &mut Answers) {
    all.put("scheme.digest", group.digest_auth);
    all.put("scheme.x509", group.x509_auth);
    all.put("skipACL", group.skip_acl);
    let access = Access { digest_algorithm: group.digest_algorithm, ..Access::default() };
    let ids = access.authenticate("digest", Some(b"u:p"), [127, 0, 0, 1].into(), &[]).expect("ids");
    all.put("DigestAuthenticationProvider.digestAlg", &ids[0].id);
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_string());
    all.put("DigestAuthenticationProvider.superDigest", or_none(&group.super_digest));
    all.put("X509AuthenticationProvider.superUser", or_none(&group.x509_super_user));
    let enforced = group.enforced_schemes.join(",");
    all.put("enforce.auth.schemes", if enforced.is_empty() { "none" } else { &enforced });
}

fn limits(group: &LimitsConfig, all: &mut Answers) {
    all.put("maxClientCnxns", group.max_client_connections);
    all.put("maxCnxns", group.max_connections);
    all.put("largeRequestMaxBytes", group.large_requests_max_bytes);
    all.put("jute.maxbuffer", group.jute_max_buffer);
    all.put("jute.maxbuffer.extrasize", group.jute_extra_size);
    all.put("request_throttle_max_requests", group.max_requests);
    all.put("throttled_op_wait_time", group.throttled_op_wait_ms);
    all.put("globalOutstandingLimit", group.global_outstanding_limit);
    let large_bytes = group.large_request_bytes.map_or("-1".to_string(), |n| n.to_string());
    all.put("largeRequestThreshold", large_bytes);
    match &group.connection_throttle {
        Some(throttle) => throttle_answers(throttle, all),
        None => all.put("connection_throttle_tokens", 0),
    }
}

fn tree(group: &TreeConfig, all: &mut Answers) {
    all.put("digest.enabled", group.digest_enabled);
    all.put("extendedTypesEnabled", group.extended_types);
    all.put("emulate353TTLNodes", group.emulate_353);
    all.put("enforceQuota", group.enforce_quota);
    all.put("znode.container.checkIntervalMs", group.reap_interval_ms);
    all.put("znode.container.maxPerMinute", group.reap_per_minute);
    all.put("znode.container.maxNeverUsedIntervalMs", group.reap_never_used_ms);
}

fn throttle_answers(throttle: &ConnectionThrottle, all: &mut Answers) {
    let mut put = |name: &str, value: String| {
        all.put(&format!("connection_throttle_{name}"), value);
    };
    put("tokens", throttle.tokens.to_string());
    put("fill_time", throttle.fill_ms.to_string());
    put("fill_count", throttle.fill_count.to_string());
    put("freeze_time", throttle.freeze_ms.map_or("-1".to_string(), |ms| ms.to_string()));
    put("drop_increase", format!("{:?}", throttle.drop_increase));
    put("drop_decrease", format!("{:?}", throttle.drop_decrease));
    put("decrease_ratio", format!("{:?}", throttle.decrease_ratio));
    put("global_session_weight", throttle.weights.global.to_string());
    put("renew_session_weight", throttle.weights.renew.to_string());
    put("local_session_weight", throttle.weights.local.to_string());
}

fn sorted(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// One spelling for all values with the same effect.
fn meaning(key: &str, value: &str) -> String {
    let number = value.parse::<i128>();
    match (key, number) {
        // A negative value switches it off, as 0 does.
        (
            "maxClientCnxns" | "autopurge.purgeInterval" | "request_throttle_max_requests",
            Ok(..0),
        )
        | ("throttled_op_wait_time" | "connection_throttle_tokens" | "preAllocSize", Ok(..0))
        | ("fsync.warningthresholdms" | "minSessionTimeout" | "globalOutstandingLimit", Ok(..0)) => {
            "0".to_string()
        }
        ("txnLogSizeLimitInKb", Ok(..=0)) => "off".to_string(),
        // A negative value is no limit.
        ("znode.container.maxPerMinute", Ok(..0)) => u64::MAX.to_string(),
        // A chance beyond 0 and 1 has the effect of the nearer of both.
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

/// A value of ZooKeeper in this server's unit: ZooKeeper reports the log's limit in bytes.
fn of_zookeeper(key: &str, value: &str) -> String {
    match (key, value.parse::<i64>()) {
        ("txnLogSizeLimitInKb", Ok(bytes @ 1..)) => (bytes / 1024).to_string(),
        _ => value.to_string(),
    }
}

/// Deliberate differences: a part of the lines or flags, and the reason. COMPATIBILITY.md lists
/// them, too.
const DECISIONS: &[(&str, &str)] = &[
    ("tickTime=2147483647\n", "the limits of sessions do not overflow"),
    ("initLimit=-", "a learner could never join"),
    ("syncLimit=-", "a learner could never follow"),
    ("observerMasterPort=2147483647", "no port has this number"),
    ("nio.sessionlessCnxnTimeout=-", "no client could connect"),
    ("fastleader.minNotificationInterval=", "1 ms is the least"),
    ("fastleader.maxNotificationInterval=", "1 ms is the least"),
    ("cnxTimeout=", "no member could be dialled, or dialling would never end"),
    ("snapshotSizeFactor=NaN", "it is not a number"),
    ("=NaN", "it is not a number"),
    ("jute.maxbuffer=", "no frame could be read"),
    ("readonlymode.enabled=TRUE", "isro is enabled with it in any spelling"),
    ("127.0.0.1:0:3888", "no peer could reach the member"),
    ("127.0.0.1:2888:0", "no peer could reach the member"),
    ("127.0.0.1:2888:3888 ;2181", "blanks in a member line are harmless"),
    ("127.0.0.1 : 2888 : 3888", "blanks in a member line are harmless"),
    ("127.0.0.1:2888:3888; 2181", "blanks in a member line are harmless"),
    ("weight.1=-1", "no weight is negative"),
    ("server.2=127.0.0.1:2889:3889\n", "a server that is not a member serves no client"),
    ("digestAlg=SHA-512/256", "the algorithm is not supported"),
    ("digestAlg=MD5", "the algorithm is not supported"),
    ("authProvider.1=", "ignoring it would not be safe"),
    ("enforce.auth.enabled=yes", "a mistyped value must not switch protection off"),
];

/// Settings that the runtimes check, and a member with several addresses.
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
            let other = answers(&config).into_iter().filter_map(|(key, here)| {
                let there = of_zookeeper(&key, answer.get(&key)?);
                (meaning(&key, &here) != meaning(&key, &there))
                    .then(|| format!("{key} is {here} here, {there} there"))
            });
            Some(Vec::from_iter(other).join("; ")).filter(|all| !all.is_empty())
        }
    }
}

#[test]
fn settings_have_the_effect_that_they_have_in_zookeeper() {
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
        assert!(needed.contains(text), "{text}: no longer a difference ({why})");
    }
}

/// Keys of this server alone.
const OWN: [&str; 3] = ["protectSystemNodes", "syncNeedsQuorum", "turnBudget"];

/// Every key that COMPATIBILITY.md lists as read has a row of ZooKeeper's answers.
#[test]
fn every_read_key_has_answers_of_zookeeper() {
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
