//! The answers to four-letter words, byte for byte as monitors parse them.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use core::fmt::{self, Write};
use core::net::{IpAddr, SocketAddr};

use super::metrics::{Metric, Summary};
use super::report::{Client, Conf, Leadership, Mode, Report, Serving, Watched};
use super::whitelist::Whitelist;
use crate::config::LearnerType;
use crate::store::QuotaFigures;
use crate::wire::Word;

/// Figures of `mntr` that ZooKeeper does not have; they come last.
pub const OWN_FIGURES: [&str; 1] = ["log_lines_dropped"];

const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests\n";

/// The whole answer to a word; the connection is closed after it.
pub fn answer(word: Word, whitelist: &Whitelist, report: &Report<'_>) -> String {
    let mut out = String::new();
    if !whitelist.allows(word) || write_answer(&mut out, word, report).is_err() {
        out.clear();
        out.push_str(word.name());
        out.push_str(" is not executed because it is not in the whitelist.\n");
    }
    out
}

fn write_answer(out: &mut String, word: Word, report: &Report<'_>) -> fmt::Result {
    let serving = report.serving == Serving::Yes;
    match word {
        Word::Ruok => out.write_str("imok"),
        Word::Isro if !serving => out.write_str("null"),
        Word::Isro => out.write_str(if report.mode == Mode::ReadOnly { "ro" } else { "rw" }),
        Word::Srvr | Word::Stat if !serving => {
            out.write_str(NOT_SERVING)?;
            match report.serving {
                Serving::Loading(recovery) => writeln!(out, "{recovery}"),
                Serving::Yes | Serving::No => Ok(()),
            }
        }
        Word::Hash if !serving => out.write_str(NOT_SERVING.trim_end()),
        Word::Conf
        | Word::Cons
        | Word::Crst
        | Word::Dirs
        | Word::Dump
        | Word::Mntr
        | Word::Srst
        | Word::Wchc
        | Word::Wchp
        | Word::Wchs
            if !serving =>
        {
            out.write_str(NOT_SERVING)
        }
        Word::Srvr => write_server(out, report, false),
        Word::Stat => write_server(out, report, true),
        Word::Conf => write_conf(out, &report.conf),
        Word::Cons => {
            report.clients.iter().try_for_each(|client| write_client(out, client, true))?;
            out.write_char('\n')
        }
        Word::Mntr => write_metrics(out, report),
        Word::Wchc | Word::Wchp | Word::Wchs => write_watches(out, &report.watched),
        Word::Crst => out.write_str("Connection stats reset.\n"),
        Word::Srst => out.write_str("Server stats reset.\n"),
        Word::Dirs => {
            writeln!(out, "datadir_size: {}", report.host.data_dir_bytes)?;
            writeln!(out, "logdir_size: {}", report.host.data_log_dir_bytes)
        }
        Word::Dump => report.dump.as_ref().map_or(Ok(()), |dump| dump.write(out)),
        Word::Envi => {
            writeln!(out, "Environment:\nzookeeper.version={}", super::VERSION)?;
            let all = &report.host.environment;
            all.iter().try_for_each(|(name, value)| writeln!(out, "{name}={value}"))
        }
        Word::Gtmk | Word::Stmk => write!(out, "{}", report.trace_mask),
        // Digests are signed there.
        Word::Hash => report
            .digests
            .iter()
            .try_for_each(|(zxid, digest)| writeln!(out, "{:x}: {}", zxid.0, *digest as i64)),
        // Closed without a word.
        Word::TelnetClose => Ok(()),
    }
}

fn write_server(out: &mut String, report: &Report<'_>, clients: bool) -> fmt::Result {
    writeln!(out, "Zookeeper version: {}", super::VERSION)?;
    if report.mode == Mode::ReadOnly {
        out.write_str("READ-ONLY mode; serving only read-only clients\n")?;
    }
    if clients {
        out.write_str("Clients:\n")?;
        report.clients.iter().try_for_each(|client| write_client(out, client, false))?;
        out.write_char('\n')?;
    }
    let stats = report.stats;
    let latency = &stats.latency;
    let (min, average, max) = (latency.min(), latency.average(), latency.max());
    writeln!(out, "Latency min/avg/max: {min}/{average}/{max}")?;
    writeln!(out, "Received: {}", stats.packets_received.get())?;
    writeln!(out, "Sent: {}", stats.packets_sent.get())?;
    writeln!(out, "Connections: {}", report.connections)?;
    writeln!(out, "Outstanding: {}", report.outstanding)?;
    writeln!(out, "Zxid: {}", report.zxid)?;
    writeln!(out, "Mode: {}", report.mode.name())?;
    writeln!(out, "Node count: {}", report.node_count)?;
    if let Some(Leadership { proposal_sizes: sizes, .. }) = &report.leadership {
        let (last, min, max) = (sizes.last, sizes.min, sizes.max);
        writeln!(out, "Proposal sizes last/min/max: {last}/{min}/{max}")?;
    }
    Ok(())
}

fn write_client(out: &mut String, client: &Client, with_session: bool) -> fmt::Result {
    // The operations that a selector would wait for: 1 to read, 4 to write.
    let operations = u8::from(client.reading) + 4 * u8::from(client.writing);
    out.write_char(' ')?;
    write_address(out, client.address)?;
    let (queued, received, sent) = (client.queued, client.received, client.sent);
    write!(out, "[{operations}](queued={queued},recved={received},sent={sent}")?;
    if let (true, Some(s)) = (with_session, &client.session) {
        write!(out, ",sid={},lop={},est={}", s.id, s.last_operation, s.established_ms)?;
        write!(out, ",to={}", s.timeout_ms)?;
        if let Some(cxid) = s.last_cxid {
            write!(out, ",lcxid={cxid:#x}")?;
        }
        write!(out, ",lzxid={},lresp={}", s.last_zxid, s.last_response_ms)?;
        let latency = &s.latency;
        let (min, average, max) = (latency.min(), latency.whole_average(), latency.max());
        write!(out, ",llat={},minlat={min},avglat={average},maxlat={max}", s.last_latency_ms)?;
    }
    out.write_str(")\n")
}

/// As Java shows a socket address: no host name before the slash, IPv6 in full.
pub(super) fn write_address(out: &mut String, address: SocketAddr) -> fmt::Result {
    match address.ip() {
        IpAddr::V4(ip) => write!(out, "/{ip}:{}", address.port()),
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, g, h] = ip.segments();
            write!(out, "/[{a:x}:{b:x}:{c:x}:{d:x}:{e:x}:{f:x}:{g:x}:{h:x}]:{}", address.port())
        }
    }
}

fn write_watches(out: &mut String, watched: &Watched<'_>) -> fmt::Result {
    match watched {
        Watched::Summary { connections, paths, watches } => {
            writeln!(out, "{connections} connections watching {paths} paths")?;
            write!(out, "Total watches:{watches}")?;
        }
        Watched::BySession(sessions) => {
            for (session, paths) in sessions {
                writeln!(out, "{session}")?;
                paths.iter().try_for_each(|path| writeln!(out, "\t{path}"))?;
            }
        }
        Watched::ByPath(paths) => {
            for (path, sessions) in paths {
                writeln!(out, "{path}")?;
                sessions.iter().try_for_each(|session| writeln!(out, "\t{session}"))?;
            }
        }
    }
    out.write_char('\n')
}

fn write_conf(out: &mut String, conf: &Conf<'_>) -> fmt::Result {
    writeln!(out, "clientPort={}", conf.client_port)?;
    writeln!(out, "secureClientPort={}", conf.secure_client_port)?;
    writeln!(out, "dataDir={}", conf.data_dir)?;
    writeln!(out, "dataDirSize={}", conf.data_dir_size)?;
    writeln!(out, "dataLogDir={}", conf.data_log_dir)?;
    writeln!(out, "dataLogSize={}", conf.data_log_size)?;
    writeln!(out, "tickTime={}", conf.tick_time_ms)?;
    writeln!(out, "maxClientCnxns={}", conf.max_client_connections)?;
    writeln!(out, "minSessionTimeout={}", conf.min_session_timeout_ms)?;
    writeln!(out, "maxSessionTimeout={}", conf.max_session_timeout_ms)?;
    writeln!(out, "clientPortListenBacklog={}", conf.listen_backlog)?;
    writeln!(out, "serverId={}", conf.server_id)?;
    let Some(ensemble) = &conf.ensemble else { return Ok(()) };
    writeln!(out, "initLimit={}", ensemble.init_limit)?;
    writeln!(out, "syncLimit={}", ensemble.sync_limit)?;
    // Fast leader election, the only one there is.
    out.write_str("electionAlg=3\n")?;
    writeln!(out, "electionPort={}", ensemble.election_port)?;
    writeln!(out, "quorumPort={}", ensemble.quorum_port)?;
    let role = match ensemble.role {
        LearnerType::Participant => 0,
        LearnerType::Observer => 1,
    };
    writeln!(out, "peerType={role}")?;
    write!(out, "membership: \n{}", ensemble.members.to_text())
}

fn write_metrics(out: &mut String, report: &Report<'_>) -> fmt::Result {
    let mut result = Ok(());
    let mut line = |key: &str, value: &dyn fmt::Display| {
        result = result.and_then(|()| writeln!(out, "zk_{key}\t{value}"));
    };
    write_gauges(report, &mut line);
    let mut is_counter = true;
    report.metrics.for_each(|name, metric| {
        if core::mem::replace(&mut is_counter, matches!(metric, Metric::Counter(_))) && !is_counter
        {
            for (namespace, count) in report.quota_refusals {
                line(&format!("{namespace}_quota_exceeded_error_per_namespace"), count);
            }
        }
        match metric {
            Metric::Counter(counter) => line(name, &counter.get()),
            Metric::Summary(summary) => write_summary(name, summary, &mut line),
            Metric::Distribution(distribution) => {
                write_summary(name, distribution.summary(), &mut line);
                for (prefix, mille) in [("p50", 500), ("p95", 950), ("p99", 990), ("p999", 999)] {
                    line(&format!("{prefix}_{name}"), &distribution.per_mille(mille));
                }
            }
        }
    });
    let [log_lines_dropped] = OWN_FIGURES;
    line(log_lines_dropped, &report.host.log_lines_dropped);
    result
}

/// One row for each figure of each namespace that has it.
fn write_quotas(quotas: &BTreeMap<String, QuotaFigures>, line: &mut Line<'_>) {
    type Figure = fn(&QuotaFigures) -> Option<i64>;
    let figures: [(&str, Figure); 4] = [
        ("bytes_limit", |q| q.bytes_limit),
        ("count_usage", |q| q.count_usage),
        ("count_limit", |q| q.count_limit),
        ("bytes_usage", |q| q.bytes_usage),
    ];
    for (name, figure) in figures {
        for (namespace, quota) in quotas {
            if let Some(value) = figure(quota) {
                line(&format!("{namespace}_quota_{name}_per_namespace"), &value);
            }
        }
    }
}

type Line<'a> = dyn FnMut(&str, &dyn fmt::Display) + 'a;

fn write_summary(name: &str, summary: &Summary, line: &mut Line<'_>) {
    line(&format!("avg_{name}"), &summary.average());
    line(&format!("min_{name}"), &summary.min());
    line(&format!("max_{name}"), &summary.max());
    line(&format!("cnt_{name}"), &summary.count());
    line(&format!("sum_{name}"), &summary.sum());
}

/// Gauges, in ZooKeeper's order. Those without a meaning here (waiting TLS handshakes, connections
/// without client certificates) are 0.
fn write_gauges(report: &Report<'_>, line: &mut Line<'_>) {
    let stats = report.stats;
    let latency = &stats.latency;
    let sizes = &stats.response_sizes;
    let files = |count: Option<u64>| count.map_or(-1, |n| i64::try_from(n).unwrap_or(i64::MAX));
    line("version", &super::VERSION);
    line("server_state", &report.mode.name());
    if let Some(state) = report.mode.peer_state() {
        line("peer_state", &state);
    }
    if let Some(observed) = report.observed {
        line("observer_master_id", &observed);
    }
    line("ephemerals_count", &report.ephemerals);
    line("num_alive_connections", &report.connections);
    line("avg_latency", &latency.average());
    if let Some(leader) = &report.leadership {
        line("min_proposal_size", &leader.proposal_sizes.min);
    }
    line("outstanding_requests", &report.outstanding);
    line("znode_count", &report.node_count);
    line("global_sessions", &report.global_sessions);
    line("non_mtls_remote_conn_count", &0);
    line("last_client_response_size", &sizes.last);
    line("packets_sent", &stats.packets_sent.get());
    line("packets_received", &stats.packets_received.get());
    if let Some(leader) = &report.leadership {
        line("max_proposal_size", &leader.proposal_sizes.max);
    }
    line("max_client_response_size", &sizes.max);
    if let Some(leader) = &report.leadership {
        line("synced_followers", &leader.synced_followers);
    }
    line("connection_drop_probability", &"0.0");
    line("watch_count", &report.watches);
    if let Some(leader) = &report.leadership {
        line("synced_non_voting_followers", &leader.synced_non_voting_followers);
        line("synced_observers", &leader.synced_observers);
    }
    if let Some(observers) = report.observers {
        line("synced_observers", &observers);
    }
    line("auth_failed_count", &stats.auth_failed.get());
    line("min_latency", &latency.min());
    line("max_file_descriptor_count", &files(report.host.max_files));
    line("approximate_data_size", &report.data_size);
    line("open_file_descriptor_count", &files(report.host.open_files));
    if let Some(leader) = &report.leadership {
        line("last_proposal_size", &leader.proposal_sizes.last);
        line("pending_syncs", &leader.pending_syncs);
        line("leader_uptime", &leader.uptime_ms);
    }
    line("local_sessions", &report.local_sessions);
    line("uptime", &report.uptime_ms);
    line("max_latency", &latency.max());
    line("outstanding_tls_handshake", &0);
    if let Some(leader) = &report.leadership {
        line("learners", &leader.learners);
    }
    line("min_client_response_size", &sizes.min);
    line("non_mtls_local_conn_count", &0);
    if let Some(size) = report.quorum_size {
        line("quorum_size", &size);
    }
    write_quotas(&report.quotas, line);
    line("watch_bytes", &report.watch_bytes);
}
