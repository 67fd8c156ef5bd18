//! The command line of the program.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use zabkeeper_core::types::Zxid;

use crate::boot::Origin;
use crate::inspect::parse_zxid;
use crate::journal::JournalOptions;

/// A coordination server that speaks Apache ZooKeeper's protocols and formats.
#[derive(Parser, Clone, PartialEq, Eq, Debug)]
#[command(
    name = "zabkeeper",
    version,
    about = "A coordination server that speaks Apache ZooKeeper's protocols and formats",
    after_help = "Examples:\n  \
        zabkeeper dev                       three nodes on this machine, removed at Ctrl-C\n  \
        zabkeeper server /etc/zk/zoo.cfg    one server, configured by a zoo.cfg\n  \
        zabkeeper inspect /var/lib/zk       check a data directory",
    arg_required_else_help = true
)]
pub(crate) struct CommandLine {
    /// The subcommand.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Log level on stderr: error, warn, info, debug, trace, or target=level,...
    /// [default: info for server, warn for dev]
    #[arg(long, global = true, value_name = "LEVEL", env = "ZABKEEPER_LOG")]
    pub(crate) log: Option<String>,
    /// Format of log lines.
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
}

impl CommandLine {
    /// The log filter of the command line, or the default of the command.
    pub(crate) fn log_filter(&self) -> &str {
        match (&self.log, &self.command) {
            (Some(filter), _) => filter,
            (None, Command::Server(_)) => "info",
            (None, Command::Dev(_)) => "warn",
            // The output contains the findings of the recovery.
            (None, Command::Inspect(_)) => "off",
        }
    }
}

/// The format of log lines.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LogFormat {
    /// Readable text.
    Text,
    /// One JSON object per line.
    Json,
}

/// The subcommands.
#[derive(Subcommand, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Command {
    /// Run one server, standalone or as a member of an ensemble
    #[command(
        long_about = "Run one server, standalone or as a member of an ensemble.\n\n\
            The file is ZooKeeper's zoo.cfg. The server's id is read from dataDir/myid, and an \
            existing data directory of ZooKeeper is used as it is. SIGTERM stops the server in \
            order; every acknowledged write is on disk at any time.\n\n\
            Java system properties (-Dzookeeper.KEY=VALUE) are read from SERVER_JVMFLAGS and \
            JVMFLAGS, and from -D. zoo.cfg takes precedence. Instead of a file, a standalone \
            server may be given its client port and data directory.",
        after_help = "Examples:\n  zabkeeper server /etc/zookeeper/zoo.cfg\n  \
            zabkeeper server 2181 /var/lib/zookeeper            standalone, without a file\n  \
            zabkeeper server --check /etc/zookeeper/zoo.cfg     check the configuration\n\n\
            Exit codes: 0 stopped, 1 unexpected error, 2 command line or configuration, 3 data directory,\n\
            10 disk failure, 13 invalid quorum packet, 14 a port cannot be bound"
    )]
    Server(ServerArgs),
    /// Run a whole ensemble in this process, for development and tests
    #[command(
        long_about = "Run a whole ensemble in this process, for development and tests.\n\n\
            The nodes use sockets on the loopback interface and files. The connect string is printed \
            as soon as every node serves. Ctrl-C stops all nodes. Without --dir, all files are in a \
            temporary directory that is removed at the end.",
        after_help = "Examples:\n  zabkeeper dev\n  zabkeeper dev --nodes 5 --client-port 12181\n  \
            zabkeeper dev --dir ./ensemble     keep the data for the next start"
    )]
    Dev(DevArgs),
    /// Show and check a log, a snapshot or a data directory, without changing anything
    #[command(
        long_about = "Show and check a log, a snapshot or a data directory of zabkeeper or Apache \
            ZooKeeper, without changing anything; or compare two of them.\n\n\
            Of a log: its transactions and checksums. Of a snapshot: its znodes, sessions, sizes, \
            checksums and digest. Of a data directory: all of these, and a trial of a server's \
            start: the snapshot it would load, the position at which it would truncate the log, \
            digests that differ, files that a purge would delete, or the reason why it would refuse \
            to start.\n\n\
            While a server writes, the end of its log may look torn. Inspecting a data directory \
            takes as much memory as the server; a log or a snapshot takes little.\n\n\
            inspect repairs nothing. A server repairs a log that a crash has torn. Restore a \
            directory that it refuses from a backup, or copy it from the leader.",
        after_help = "Examples:\n  \
            zabkeeper inspect /var/lib/zookeeper                      would a server start?\n  \
            zabkeeper inspect --json version-2/log.100000001 | jq -r .path\n  \
            zabkeeper inspect --from 0x10000002a --data log.100000001\n  \
            zabkeeper inspect --subtree /app --depth 2 snapshot.2a    which subtree is large?\n  \
            zabkeeper inspect --diff /srv1/zookeeper /srv2/zookeeper  where do they differ?\n\n\
            Exit codes: 0 sound, or equal; 1 damaged, refused by a server, or different;\n\
            2 error: nothing could be checked"
    )]
    Inspect(InspectArgs),
}

/// Arguments of `zabkeeper inspect`.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub(crate) struct InspectArgs {
    /// A log, a snapshot (compressed or not), dataDir, or dataDir/version-2
    #[arg(value_name = "PATH", required_unless_present = "diff", conflicts_with = "diff")]
    pub(crate) path: Option<PathBuf>,
    /// Compare two logs, two snapshots or two data directories
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    pub(crate) diff: Vec<PathBuf>,
    /// Print one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
    /// dataLogDir, if it differs from dataDir
    #[arg(long, value_name = "DIR")]
    pub(crate) log_dir: Option<PathBuf>,
    /// First transaction to list (zxid, hexadecimal)
    #[arg(long, value_name = "ZXID", value_parser = parse_zxid)]
    pub(crate) from: Option<Zxid>,
    /// Last transaction to list (zxid, hexadecimal)
    #[arg(long, value_name = "ZXID", value_parser = parse_zxid)]
    pub(crate) to: Option<Zxid>,
    /// List the transactions of a data directory, too
    #[arg(long)]
    pub(crate) transactions: bool,
    /// List sessions and znodes
    #[arg(long)]
    pub(crate) nodes: bool,
    /// Print data with znodes and transactions (text as it is, else base64; always base64 in JSON)
    #[arg(long)]
    pub(crate) data: bool,
    /// Print the result only: no transactions, no sizes
    #[arg(long, conflicts_with_all = ["transactions", "nodes"])]
    pub(crate) summary: bool,
    /// List and sum up only this znode and its descendants
    #[arg(long, value_name = "PATH", default_value = "/", value_parser = znode_path)]
    pub(crate) subtree: String,
    /// Depth below --subtree to which sizes are listed
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) depth: usize,
    /// Number of snapshots that a purge would keep (autopurge.snapRetainCount)
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) retain: usize,
    /// jute.maxbuffer of the servers
    #[arg(long, value_name = "BYTES", default_value_t = 0xf_ffff)]
    pub(crate) jute_maxbuffer: usize,
    /// Check as a server with snapshot.trust.empty=true would
    #[arg(long)]
    pub(crate) trust_empty: bool,
    /// Check as a standalone server would [default: derived from the files]
    #[arg(long, conflicts_with = "member")]
    pub(crate) standalone: bool,
    /// Check as a member of an ensemble would
    #[arg(long)]
    pub(crate) member: bool,
}

fn znode_path(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        Ok(String::from(text))
    } else {
        Err(String::from("a znode's path begins with a slash"))
    }
}

/// Arguments of `zabkeeper server`.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub(crate) struct ServerArgs {
    /// The configuration file; or, for a standalone server: client port, data directory, and
    /// optionally tickTime and maxClientCnxns
    #[arg(value_name = "PATH/zoo.cfg", required = true, num_args = 1..=4)]
    pub(crate) config: Vec<OsString>,
    /// Check the configuration, print its errors and warnings, and exit
    #[arg(long)]
    pub(crate) check: bool,
    /// A Java system property, for example -Dzookeeper.snapCount=100000
    #[arg(short = 'D', value_name = "KEY=VALUE")]
    pub(crate) define: Vec<String>,
    /// Arguments for the journal.
    #[command(flatten)]
    pub(crate) record: RecordArgs,
}

impl ServerArgs {
    /// The origin of the configuration.
    pub(crate) fn origin(&self) -> Origin {
        Origin::of_arguments(&self.config)
    }
}

/// Arguments of `zabkeeper dev`.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub(crate) struct DevArgs {
    /// Number of nodes
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=99))]
    pub(crate) nodes: u16,
    /// Directory for data and configuration [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Client port of the first node; the other nodes use the ports after it
    #[arg(long, default_value_t = 2181, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) client_port: u16,
    /// Arguments for the journal.
    #[command(flatten)]
    pub(crate) record: RecordArgs,
}

/// Arguments for the journal.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct RecordArgs {
    /// Record every event that enters the core in FILE.000001, FILE.000002, ..., for
    /// `sim replay --record FILE`. The files contain all data and passwords that clients send.
    /// (dev: FILE is a directory, with a journal for each node)
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Approximate limit of the journal on disk, MiB. The oldest segments are removed first; a
    /// run without its first segment can be read, but not replayed
    #[arg(long, value_name = "MIB", default_value_t = 1024, requires = "record", value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    pub(crate) record_limit: u64,
}

impl RecordArgs {
    /// The options of the journal; `None` without `--record`.
    pub(crate) fn options(&self) -> Option<JournalOptions> {
        let limit_bytes = self.record_limit << 20;
        self.record.clone().map(|journal| JournalOptions { journal, limit_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::Boot;
    use crate::exit::Failure;
    use crate::system_properties::SystemProperties;

    fn parse(words: &[&str]) -> Result<CommandLine, clap::Error> {
        CommandLine::try_parse_from([&["zabkeeper"], words].concat())
    }

    #[test]
    fn commands_and_defaults_are_parsed() {
        use clap::CommandFactory;
        CommandLine::command().debug_assert();
        let dev = parse(&["dev"]).unwrap();
        let Command::Dev(args) = &dev.command else { panic!("{dev:?}") };
        assert_eq!((args.nodes, args.client_port, &args.dir), (3, 2181, &None));
        let server = parse(&["server", "zoo.cfg", "--log", "debug"]).unwrap();
        assert_eq!(server.log_filter(), "debug");
        assert_eq!(server.log_format, LogFormat::Text);
        let Command::Server(args) = &server.command else { panic!("{server:?}") };
        assert_eq!(args.record.options(), None);
        assert!(!args.check && args.define.is_empty());
        let server =
            parse(&["server", "--check", "-Dzookeeper.a=b", "-D", "c=d", "zoo.cfg"]).unwrap();
        let Command::Server(args) = &server.command else { panic!("{server:?}") };
        assert!(args.check);
        assert_eq!(args.origin(), Origin::File("zoo.cfg".into()));
        assert_eq!(args.define, ["zookeeper.a=b", "c=d"]);
        assert!(parse(&["dev", "--nodes", "0"]).is_err());
        assert!(parse(&["inspect"]).is_err() && parse(&["inspect", "--diff", "a"]).is_err());
        assert!(parse(&["inspect", "--diff", "a", "b"]).is_ok());
        assert!(parse(&["inspect", "--from", "zxid", "a"]).is_err());
        assert!(parse(&["server"]).is_err());
        assert!(parse(&["server", "1", "/d", "3", "4", "5"]).is_err());
        assert!(parse(&[]).is_err());
    }

    #[test]
    fn standalone_server_takes_arguments_instead_of_a_file() {
        let read = |words: &[&str]| {
            let line = parse(&[&["server"], words].concat()).unwrap();
            let Command::Server(args) = line.command else { panic!("{words:?}") };
            let (config, _, _) = Boot::read(&args.origin(), &SystemProperties::default())?;
            let limit = config.limits.max_client_connections;
            Ok::<_, Failure>((
                config.network.client_port,
                config.storage.data_dir,
                config.sessions.tick_time_ms,
                limit,
            ))
        };
        let expected = |tick, limit| (Some(2181), "a\\b".to_string(), tick, limit);
        assert_eq!(read(&["2181", "a\\b"]).unwrap(), expected(3000, 0));
        assert_eq!(read(&["2181", "a\\b", "500"]).unwrap(), expected(500, 0));
        assert_eq!(read(&["2181", "a\\b", "500", "7"]).unwrap(), expected(500, 7));
        let failure = read(&["zoo.cfg", "/d"]).unwrap_err();
        assert_eq!(failure.code, 2);
        assert!(failure.message.starts_with("command line:1: clientPort=zoo.cfg"), "{failure}");
    }

    #[test]
    fn journal_limit_is_parsed() {
        let record = |words: &[&str]| {
            let line = parse(&[&["server", "zoo.cfg"], words].concat())?;
            let Command::Server(args) = line.command else { panic!("{words:?}") };
            Ok::<_, clap::Error>(args.record.options().map(|o| (o.journal, o.limit_bytes >> 20)))
        };
        assert_eq!(record(&["--record", "j"]).unwrap(), Some(("j".into(), 1024)));
        let limited = record(&["--record", "j", "--record-limit", "64"]).unwrap();
        assert_eq!(limited, Some(("j".into(), 64)));
        assert!(record(&["--record-limit", "64"]).is_err());
        assert!(record(&["--record", "j", "--record-limit", "0"]).is_err());
    }
}
