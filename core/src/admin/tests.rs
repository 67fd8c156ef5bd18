//! The four-letter words against what real servers answered.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::metrics::{BufferSizes, Metrics, ServerStats, Summary};
use super::*;
use crate::config::{EnsembleConfig, LearnerType, Member, ServerAddress};
use crate::event::{HostStats, Progress};
use crate::store::QuotaFigures;
use crate::types::{HostPort, ServerId, SessionId, Zxid};
use crate::wire::Word;

macro_rules! golden {
    ($name:literal) => {
        include_str!(concat!("../../testdata/fourletter/", $name, ".txt"))
    };
}

static NO_HOST: HostStats = HostStats {
    data_dir_bytes: 66030,
    data_log_dir_bytes: 66030,
    open_files: None,
    max_files: None,
    log_lines_dropped: 0,
    environment: Vec::new(),
};

const REAL_VERSION: &str =
    "3.9.5-293c895a8d966a3ecb92872be4a1daf87d725da2, built on 2026-02-11 20:18 UTC";

/// `count` values with this sum, the least and the greatest among them.
fn values(sum: u64, count: u64, min: u64, max: u64) -> Vec<u64> {
    match count {
        0 => vec![],
        1 => vec![sum],
        _ => {
            let mut values = vec![min, max];
            let mut rest = sum - min - max;
            for left in (1..=count - 2).rev() {
                values.push(rest / left);
                rest -= rest / left;
            }
            values
        }
    }
}

fn summary(values: &[u64]) -> Summary {
    let mut summary = Summary::default();
    values.iter().for_each(|v| summary.add(*v));
    summary
}

fn stats(latency: &[u64], received: u64, sent: u64) -> ServerStats {
    let mut stats = ServerStats { latency: summary(latency), ..ServerStats::default() };
    stats.packets_received.add(received);
    stats.packets_sent.add(sent);
    stats
}

static NO_REFUSALS: BTreeMap<String, u64> = BTreeMap::new();

fn report<'a>(mode: Mode, stats: &'a ServerStats, metrics: &'a Metrics) -> Report<'a> {
    Report {
        serving: Serving::Yes,
        mode,
        clients: vec![],
        connections: 2,
        outstanding: 0,
        zxid: Zxid(0x1_0000_0008),
        node_count: 9,
        data_size: 238,
        ephemerals: 4,
        global_sessions: 4,
        local_sessions: 0,
        watches: 0,
        watched: Watched::Summary { connections: 0, paths: 0, watches: 0 },
        watch_bytes: 0,
        uptime_ms: 0,
        host: &NO_HOST,
        dump: None,
        digests: vec![],
        trace_mask: 306,
        quorum_size: None,
        leadership: None,
        observed: None,
        observers: None,
        quotas: BTreeMap::new(),
        quota_refusals: &NO_REFUSALS,
        stats,
        metrics,
        conf: Conf {
            client_port: 15104,
            secure_client_port: -1,
            data_dir: String::from("/data/version-2"),
            data_dir_size: 66030,
            data_log_dir: String::from("/data/version-2"),
            data_log_size: 66030,
            tick_time_ms: 2000,
            max_client_connections: 0,
            min_session_timeout_ms: 4000,
            max_session_timeout_ms: 40000,
            listen_backlog: -1,
            server_id: 0,
            ensemble: None,
        },
    }
}

fn ask(word: Word, report: &Report<'_>) -> String {
    answer(word, &Whitelist::parse(Some("*"), false), report).replace(VERSION, REAL_VERSION)
}

fn client(port: u16, reading: bool, received: u64, sent: u64) -> Client {
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    Client { address, reading, writing: false, queued: 0, received, sent, session: None }
}

#[test]
fn srvr_is_the_same_in_every_role() {
    let metrics = Metrics::default();
    let alone = stats(&values(596, 147, 0, 28), 153, 293);
    let mut standalone = report(Mode::Standalone, &alone, &metrics);
    (standalone.zxid, standalone.node_count) = (Zxid(0x8f), 147);
    assert_eq!(ask(Word::Srvr, &standalone), golden!("standalone-srvr"));

    let leading = stats(&[8, 11], 5, 4);
    let mut leader = report(Mode::Leader, &leading, &metrics);
    let proposal_sizes = BufferSizes { last: 88, min: 48, max: 88 };
    leader.leadership = Some(Leadership { proposal_sizes, ..Leadership::default() });
    assert_eq!(ask(Word::Srvr, &leader), golden!("leader-srvr"));

    let following = stats(&values(90, 3, 11, 43), 7, 6);
    let follower = report(Mode::Follower, &following, &metrics);
    assert_eq!(ask(Word::Srvr, &follower), golden!("follower-srvr"));

    let observing = stats(&[16, 24], 5, 4);
    let observer = report(Mode::Observer, &observing, &metrics);
    assert_eq!(ask(Word::Srvr, &observer), golden!("observer-srvr"));

    let read_only = ask(Word::Srvr, &report(Mode::ReadOnly, &observing, &metrics));
    let second = "READ-ONLY mode; serving only read-only clients";
    assert_eq!(read_only.lines().nth(1), Some(second));
    assert!(read_only.contains("\nMode: read-only\n"));
}

#[test]
fn stat_lists_the_clients_in_short() {
    let metrics = Metrics::default();
    let alone = stats(&values(596, 147, 0, 28), 154, 294);
    let mut standalone = report(Mode::Standalone, &alone, &metrics);
    (standalone.zxid, standalone.node_count) = (Zxid(0x8f), 147);
    standalone.clients = vec![client(48440, true, 147, 288), client(48468, false, 1, 0)];
    assert_eq!(ask(Word::Stat, &standalone), golden!("standalone-stat"));

    let leading = stats(&[8, 11], 6, 5);
    let mut leader = report(Mode::Leader, &leading, &metrics);
    let proposal_sizes = BufferSizes { last: 88, min: 48, max: 88 };
    leader.leadership = Some(Leadership { proposal_sizes, ..Leadership::default() });
    leader.clients = vec![client(37242, true, 2, 2), client(37276, false, 1, 0)];
    assert_eq!(ask(Word::Stat, &leader), golden!("leader-stat"));
}

#[test]
fn cons_shows_sessions() {
    let (stats, metrics) = (ServerStats::default(), Metrics::default());
    let mut standalone = report(Mode::Standalone, &stats, &metrics);
    let mut busy = client(48440, true, 147, 288);
    busy.session = Some(ClientSession {
        id: SessionId(0x0100_0060_2919_0000),
        last_operation: "CREA",
        established_ms: 1795209784576,
        timeout_ms: 30000,
        last_cxid: Some(0x92),
        last_zxid: Zxid(0x8f),
        last_response_ms: 6304412,
        last_latency_ms: 1,
        latency: summary(&values(596, 147, 0, 28)),
    });
    standalone.clients = vec![busy.clone(), client(48486, false, 1, 0)];
    assert_eq!(ask(Word::Cons, &standalone), golden!("standalone-cons"));

    let mut follower = report(Mode::Follower, &stats, &metrics);
    let mut synced = client(52712, true, 3, 3);
    synced.session = Some(ClientSession {
        id: SessionId(0x0100_0073_37c5_0000),
        last_operation: "SYNC",
        established_ms: 1795211035418,
        timeout_ms: 20000,
        last_cxid: Some(2),
        last_zxid: Zxid(0x1_0000_0008),
        last_response_ms: 7554621,
        last_latency_ms: 11,
        latency: summary(&[0, 30, 43, 43, 34]),
    });
    follower.clients = vec![client(52758, false, 1, 0), synced];
    assert_eq!(ask(Word::Cons, &follower), golden!("follower-cons"));

    if let Some(session) = &mut busy.session {
        (session.last_cxid, session.last_operation) = (None, "NA");
    }
    busy.address = "[2001:db8::1]:7".parse().unwrap();
    busy.writing = true;
    standalone.clients = vec![busy];
    let text = ask(Word::Cons, &standalone);
    assert!(text.starts_with(" /[2001:db8:0:0:0:0:0:1]:7[5](queued=0,"), "{text}");
    assert!(text.contains(",lop=NA,") && !text.contains("lcxid"), "{text}");
}

#[test]
fn conf_ends_with_the_membership() {
    let (stats, metrics) = (ServerStats::default(), Metrics::default());
    let standalone = report(Mode::Standalone, &stats, &metrics);
    assert_eq!(ask(Word::Conf, &standalone), golden!("standalone-conf"));

    let mut members = EnsembleConfig::default();
    for id in 1..=4u16 {
        let role = if id == 4 { LearnerType::Observer } else { LearnerType::Participant };
        let quorum = HostPort::new("127.0.0.1", 15300 + id);
        let election = HostPort::new("127.0.0.1", 15400 + id);
        let addresses = vec![ServerAddress { quorum, election }];
        let member = Member { addresses, role, client: None };
        members.members.insert(ServerId(i64::from(id)), member);
    }
    for (id, role, text) in [
        (1u16, LearnerType::Participant, golden!("follower-conf")),
        (3, LearnerType::Participant, golden!("leader-conf")),
        (4, LearnerType::Observer, golden!("observer-conf")),
    ] {
        let mut member = report(Mode::Follower, &stats, &metrics);
        let dir = format!("/data{id}/version-2");
        let ensemble = EnsembleConf {
            init_limit: 10,
            sync_limit: 5,
            election_port: 15400 + id,
            quorum_port: 15300 + id,
            role,
            members: &members,
        };
        member.conf = Conf {
            client_port: i32::from(15200 + id),
            data_dir: dir.clone(),
            data_dir_size: 66210,
            data_log_dir: dir,
            data_log_size: 66210,
            tick_time_ms: 1000,
            min_session_timeout_ms: 2000,
            max_session_timeout_ms: 20000,
            server_id: i64::from(id),
            ensemble: Some(ensemble),
            ..member.conf
        };
        assert_eq!(ask(Word::Conf, &member), text);
    }
}

/// Fills a report with the figures of a real `mntr` answer and lets it be written again.
fn mntr_again(real: &str, mode: Mode, latency: &[u64]) -> (Vec<String>, Vec<String>) {
    let lines: BTreeMap<&str, &str> =
        real.lines().map(|l| l.strip_prefix("zk_").unwrap().split_once('\t').unwrap()).collect();
    let figure = |key: &str| lines.get(key).map_or(0, |v| v.parse::<u64>().unwrap());
    let sizes = |kind: &str| BufferSizes {
        last: figure(&format!("last_{kind}_size")) as i64,
        min: figure(&format!("min_{kind}_size")) as i64,
        max: figure(&format!("max_{kind}_size")) as i64,
    };
    let mut metrics = Metrics::default();
    for key in lines.keys() {
        if let Some(name) = key.strip_prefix("cnt_") {
            let [sum, count, min, max] =
                ["sum", "cnt", "min", "max"].map(|p| figure(&format!("{p}_{name}")));
            metrics.fill(name, &values(sum, count, min, max));
        } else if let Ok(count) = lines[key].parse() {
            metrics.fill(key, &[count]);
        }
    }
    let mut stats = stats(latency, figure("packets_received"), figure("packets_sent"));
    stats.response_sizes = sizes("client_response");
    let mut report = report(mode, &stats, &metrics);
    report.connections = figure("num_alive_connections");
    report.node_count = figure("znode_count");
    report.data_size = figure("approximate_data_size");
    report.ephemerals = figure("ephemerals_count");
    report.global_sessions = figure("global_sessions");
    report.watches = figure("watch_count");
    report.watch_bytes = figure("watch_bytes");
    report.uptime_ms = figure("uptime");
    let host = HostStats {
        open_files: Some(figure("open_file_descriptor_count")),
        max_files: Some(figure("max_file_descriptor_count")),
        ..NO_HOST.clone()
    };
    report.host = &host;
    report.quorum_size = lines.get("quorum_size").map(|_| figure("quorum_size"));
    report.observed = lines.get("observer_master_id").map(|id| ServerId(id.parse().unwrap()));
    report.leadership = lines.get("leader_uptime").map(|_| Leadership {
        learners: figure("learners"),
        synced_followers: figure("synced_followers"),
        synced_non_voting_followers: figure("synced_non_voting_followers"),
        synced_observers: figure("synced_observers"),
        pending_syncs: figure("pending_syncs"),
        uptime_ms: figure("leader_uptime"),
        proposal_sizes: sizes("proposal"),
    });
    let text = ask(Word::Mntr, &report);
    // Percentiles cannot be known from the answer; figures by namespace and by learner are
    // not kept.
    // Figures of this server alone are not compared.
    let own = |line: &str| OWN_FIGURES.iter().any(|name| line.starts_with(&format!("zk_{name}\t")));
    let kept = |line: &&str| {
        !line.contains("_per_namespace\t") && !line.contains("_learner_handler_qp_") && !own(line)
    };
    let percentile = |line: &str| {
        ["zk_p50_", "zk_p95_", "zk_p99_", "zk_p999_"].iter().any(|p| line.starts_with(p))
    };
    let comparable = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(kept);
        lines
            .map(|line| match line.split_once('\t') {
                Some((key, _)) if percentile(line) => key.to_string(),
                _ => line.to_string(),
            })
            .collect()
    };
    (comparable(&text), comparable(real))
}

#[test]
fn mntr_has_all_names_in_the_real_order() {
    for (real, mode, latency) in [
        (golden!("standalone-mntr"), Mode::Standalone, values(596, 147, 0, 28)),
        (golden!("leader-mntr"), Mode::Leader, vec![8, 11]),
        (golden!("follower-mntr"), Mode::Follower, vec![11, 36, 43]),
        (golden!("observer-mntr"), Mode::Observer, vec![16, 24]),
    ] {
        let (written, real) = mntr_again(real, mode, &latency);
        assert!(real.len() > 490, "{mode:?}");
        for (ours, theirs) in written.iter().zip(&real) {
            assert_eq!(ours, theirs, "{mode:?}");
        }
        assert_eq!(written.len(), real.len(), "{mode:?}");
    }
}

#[test]
fn a_word_that_is_not_enabled_says_so() {
    let (stats, metrics) = (ServerStats::default(), Metrics::default());
    let standalone = report(Mode::Standalone, &stats, &metrics);
    let whitelist = Whitelist::parse(None, false);
    assert_eq!(
        answer(Word::Mntr, &whitelist, &standalone),
        "mntr is not executed because it is not in the whitelist.\n"
    );
    assert!(answer(Word::Srvr, &whitelist, &standalone).starts_with("Zookeeper version: 3.9."));
}

#[test]
fn watches_are_shown_in_sum_by_session_and_by_path() {
    let (stats, metrics) = (ServerStats::default(), Metrics::default());
    let mut standalone = report(Mode::Standalone, &stats, &metrics);
    standalone.watched = Watched::Summary { connections: 2, paths: 1, watches: 3 };
    let summary = "2 connections watching 1 paths\nTotal watches:3\n";
    assert_eq!(ask(Word::Wchs, &standalone), summary);
    let (one, two) = (SessionId(0x1_0000), SessionId(-1));
    standalone.watched = Watched::BySession(vec![(one, vec!["/a", "/b"]), (two, vec![])]);
    let by_session = "0x10000\n\t/a\n\t/b\n0xffffffffffffffff\n\n";
    assert_eq!(ask(Word::Wchc, &standalone), by_session);
    standalone.watched = Watched::ByPath(vec![("/a", vec![one, two])]);
    assert_eq!(ask(Word::Wchp, &standalone), "/a\n\t0x10000\n\t0xffffffffffffffff\n\n");
    standalone.serving = Serving::No;
    let not_serving = "This ZooKeeper instance is not currently serving requests\n";
    assert_eq!(ask(Word::Wchs, &standalone), not_serving);
}

#[test]
fn server_that_does_not_serve_reports_it_and_the_progress_of_loading() {
    let (stats, metrics) = (ServerStats::default(), Metrics::default());
    let mut looking = report(Mode::Follower, &stats, &metrics);
    let not_serving = "This ZooKeeper instance is not currently serving requests\n";
    looking.serving = Serving::No;
    for word in [Word::Srvr, Word::Stat, Word::Mntr, Word::Conf, Word::Cons] {
        assert_eq!(ask(word, &looking), not_serving);
    }
    assert_eq!(ask(Word::Ruok, &looking), golden!("ruok"));
    assert_eq!(ask(Word::Isro, &looking), "null");
    let progress = Progress { bytes_done: 250, bytes_total: 1000, entries: 7 };
    looking.serving = Serving::Loading(Recovery { progress, elapsed_ms: 4000 });
    assert_eq!(
        ask(Word::Srvr, &looking),
        format!("{not_serving}Loading data: 25% (250 of 1000 bytes), 7 entries, about 12 s left\n")
    );
    looking.serving = Serving::Loading(Recovery { progress: Progress::default(), elapsed_ms: 1 });
    assert_eq!(
        ask(Word::Srvr, &looking).lines().nth(1),
        Some("Loading data: 0% (0 of 0 bytes), 0 entries, time left unknown")
    );
    assert_eq!(ask(Word::Mntr, &looking), not_serving);
}

#[test]
fn isro_tells_read_only_mode() {
    let (stats, metrics) = (ServerStats::default(), Metrics::default());
    assert_eq!(ask(Word::Isro, &report(Mode::Leader, &stats, &metrics)), golden!("isro"));
    assert_eq!(ask(Word::Isro, &report(Mode::ReadOnly, &stats, &metrics)), "ro");
}

#[test]
fn quotas_stand_where_monitors_of_3_9_find_them() {
    let (stats, metrics) = (stats(&[], 0, 0), Metrics::default());
    let refusals = BTreeMap::from([(String::from("a"), 3)]);
    let a = QuotaFigures {
        count_limit: Some(3),
        bytes_limit: Some(20),
        count_usage: Some(2),
        bytes_usage: Some(7),
    };
    let b = QuotaFigures { count_usage: Some(1), bytes_usage: Some(0), ..QuotaFigures::default() };
    let quotas = BTreeMap::from([(String::from("a"), a), (String::from("b"), b)]);
    let report =
        Report { quotas, quota_refusals: &refusals, ..report(Mode::Standalone, &stats, &metrics) };
    let text = ask(Word::Mntr, &report);
    let place = text.find("zk_non_mtls_local_conn_count").unwrap();
    let gauges = "zk_non_mtls_local_conn_count\t0\n\
        zk_a_quota_bytes_limit_per_namespace\t20\n\
        zk_a_quota_count_usage_per_namespace\t2\n\
        zk_b_quota_count_usage_per_namespace\t1\n\
        zk_a_quota_count_limit_per_namespace\t3\n\
        zk_a_quota_bytes_usage_per_namespace\t7\n\
        zk_b_quota_bytes_usage_per_namespace\t0\n\
        zk_watch_bytes\t0\n";
    assert_eq!(&text[place..place + gauges.len()], gauges);
    let counters = "zk_revalidate_count\t0\nzk_a_quota_exceeded_error_per_namespace\t3\nzk_avg_socket_closing_time\t0.0\n";
    assert!(text.contains(counters), "{text}");
}

#[test]
fn dump_lists_sessions_ephemerals_and_connections() {
    let (stats, metrics) = (ServerStats::default(), Metrics::default());
    let mut standalone = report(Mode::Standalone, &stats, &metrics);
    let mut clock = 1_795_209_815_000;
    let mut at = |seconds: i64| {
        clock += seconds * 1000;
        clock
    };
    let session = SessionId(0x0100_0060_2919_0000);
    let address = |port: u16| ([127, 0, 0, 1], port).into();
    standalone.dump = Some(Dump {
        local: None,
        global: GlobalSessions::Tracked(vec![(at(0), vec![]), (at(2), vec![session])]),
        ephemerals: vec![(session, vec!["/w/e".into()])],
        connections: vec![
            (at(-16), vec![(address(48492), SessionId(0))]),
            (at(20), vec![(address(48440), session)]),
        ],
    });
    assert_eq!(ask(Word::Dump, &standalone), golden!("standalone-dump"));

    let sessions: Vec<SessionId> = [
        0x0100_0073_37c5_0000,
        0x0200_0073_37bd_0000,
        0x0300_0073_37ce_0000,
        0x0400_0073_381e_0000,
    ]
    .map(SessionId)
    .into();
    let mut follower = report(Mode::Follower, &stats, &metrics);
    let end = 1_795_211_051_000;
    follower.dump = Some(Dump {
        local: None,
        global: GlobalSessions::Known(sessions.iter().map(|id| (*id, 20_000)).collect()),
        ephemerals: (1..).zip(&sessions).map(|(n, id)| (*id, vec![format!("/n{n}")])).collect(),
        connections: vec![
            (end, vec![(address(52746), SessionId(0))]),
            (end + 10_000, vec![(address(52712), sessions[0])]),
        ],
    });
    let shown = ask(Word::Dump, &follower);
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(String::from).collect();
        lines.sort();
        lines
    };
    // There the order of sessions with ephemerals is a hash map's.
    assert_eq!(sorted(&shown), sorted(golden!("follower-dump")));
    let Some(Dump { local, .. }) = &mut follower.dump else { unreachable!() };
    *local = Some(vec![(end, vec![SessionId(7)])]);
    let expected = shown.replace(
        "Global",
        "Local Session Sets (1)/(1):\n1 expire at Fri Nov 20 21:44:11 UTC 2026:\n\t0x7\nGlobal",
    );
    assert_eq!(ask(Word::Dump, &follower), expected);
}

#[test]
fn the_smaller_words() {
    let (stats, metrics) = (ServerStats::default(), Metrics::default());
    let mut alone = report(Mode::Standalone, &stats, &metrics);
    alone.digests = vec![(Zxid(128), 276_428_972_602)];
    for (word, golden) in [
        (Word::Crst, golden!("crst")),
        (Word::Srst, golden!("srst")),
        (Word::Dirs, golden!("dirs")),
        (Word::Gtmk, golden!("gtmk")),
        (Word::Hash, golden!("hash")),
    ] {
        assert_eq!(ask(word, &alone), golden);
    }
    alone.digests = vec![(Zxid(0x80), u64::MAX)];
    assert_eq!(ask(Word::Hash, &alone), "80: -1\n");
    alone.trace_mask = 150;
    assert_eq!(ask(Word::Stmk, &alone), golden!("stmk"));
    assert_eq!(ask(Word::TelnetClose, &alone), "");
    let host =
        HostStats { environment: vec![("os.name".into(), "Linux".into())], ..NO_HOST.clone() };
    alone.host = &host;
    let first = golden!("envi").lines().take(2).collect::<Vec<_>>().join("\n");
    assert_eq!(ask(Word::Envi, &alone), first + "\nos.name=Linux\n");

    alone.serving = Serving::No;
    let not_serving = "This ZooKeeper instance is not currently serving requests\n";
    for word in [Word::Crst, Word::Dirs, Word::Dump, Word::Srst] {
        assert_eq!(ask(word, &alone), not_serving);
    }
    assert_eq!(ask(Word::Hash, &alone), not_serving.trim_end());
}
