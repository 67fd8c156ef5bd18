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
        zabkeeper dev                       three nodes on this machine, gone at Ctrl-C\n  \
        zabkeeper server /etc/zk/zoo.cfg    one server, as its zoo.cfg says\n  \
        zabkeeper inspect /var/lib/zk       what is in a data directory",
    arg_required_else_help = true
)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What to log to stderr: error, warn, info, debug, trace, or target=level,...
    /// [default: info for server, warn for dev]
    #[arg(long, global = true, value_name = "LEVEL", env = "ZABKEEPER_LOG")]
    pub log: Option<String>,
    /// How a log line looks.
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

impl CommandLine {
    /// The log filter: as given, or the command's default.
    pub fn log_filter(&self) -> &str {
        match (&self.log, &self.command) {
            (Some(filter), _) => filter,
            (None, Command::Server(_)) => "info",
            (None, Command::Dev(_)) => "warn",
            // What a recovery has to say is in what is printed.
            (None, Command::Inspect(_)) => "off",
        }
    }
}

/// How a log line looks.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The subcommands.
#[derive(Subcommand, Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Run one server, standalone or as a member of an ensemble
    #[command(
        long_about = "Run one server, standalone or as a member of an ensemble.\n\n\
            The file is ZooKeeper's zoo.cfg; the server's number is read from dataDir/myid, and an \
            existing data directory is taken over as it is. SIGTERM stops the server in order; \
            everything it has acknowledged is on disk at any time.\n\n\
            Settings that the JVM was given (-Dzookeeper.KEY=VALUE) count here, too: out of \
            SERVER_JVMFLAGS and JVMFLAGS, or with -D. zoo.cfg is stronger. In place of a file, a \
            standalone server may be given its client port and data directory.",
        after_help = "Examples:\n  zabkeeper server /etc/zookeeper/zoo.cfg\n  \
            zabkeeper server 2181 /var/lib/zookeeper            standalone, without a file\n  \
            zabkeeper server --check /etc/zookeeper/zoo.cfg     what it would do with that\n\n\
            Exit codes: 0 stopped, 1 unexpected, 2 command line or configuration, 3 data directory,\n\
            10 disk failure, 13 impossible packet, 14 a port cannot be bound"
    )]
    Server(ServerArgs),
    /// Run a whole ensemble in this process, for development and tests
    #[command(
        long_about = "Run a whole ensemble in this process, for development and tests.\n\n\
            Real sockets on the loopback interface and real files; prints the connect string as soon \
            as every node serves. Ctrl-C stops all nodes. Without --dir everything is in a temporary \
            directory that is removed at the end.",
        after_help = "Examples:\n  zabkeeper dev\n  zabkeeper dev --nodes 5 --client-port 12181\n  \
            zabkeeper dev --dir ./ensemble     keeps its data for the next start"
    )]
    Dev(DevArgs),
    /// Tell what is in a log, a snapshot or a data directory, without changing anything
    #[command(
        long_about = "Tell what is in a log, a snapshot or a data directory, of zabkeeper or Apache \
            ZooKeeper, without changing anything; or compare two of them.\n\n\
            A log: its transactions, and whether every checksum is right. A snapshot: its znodes, \
            sessions and sizes, its checksums and its digest. A data directory: all of that, and \
            what a server would do here: which snapshot it would load, where it would cut the log, \
            which digests differ, what a purge would delete, or why it would refuse to start.\n\n\
            While a server writes, the end of its log may look torn. A data directory takes as much \
            memory as the server would, a log or a snapshot next to none.\n\n\
            Nothing is repaired here. A server repairs what a crash has torn; what it refuses is to \
            be restored, or copied from the leader.",
        after_help = "Examples:\n  \
            zabkeeper inspect /var/lib/zookeeper                      would a server start?\n  \
            zabkeeper inspect --json version-2/log.100000001 | jq -r .path\n  \
            zabkeeper inspect --from 0x10000002a --data log.100000001\n  \
            zabkeeper inspect --subtree /app --depth 2 snapshot.2a    which part is large?\n  \
            zabkeeper inspect --diff /srv1/zookeeper /srv2/zookeeper  where do they differ?\n\n\
            Exit codes: 0 sound, or the same; 1 damaged, a server would refuse, or different;\n\
            2 there is no answer"
    )]
    Inspect(InspectArgs),
}

/// Arguments of `zabkeeper inspect`.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct InspectArgs {
    /// A log, a snapshot (compressed or not), dataDir, or the version-2 in it
    #[arg(value_name = "PATH", required_unless_present = "diff", conflicts_with = "diff")]
    pub path: Option<PathBuf>,
    /// Compare two logs, two snapshots or two data directories
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    pub diff: Vec<PathBuf>,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    /// dataLogDir, if it is another directory
    #[arg(long, value_name = "DIR")]
    pub log_dir: Option<PathBuf>,
    /// Transactions from this zxid on (hexadecimal)
    #[arg(long, value_name = "ZXID", value_parser = parse_zxid)]
    pub from: Option<Zxid>,
    /// Transactions up to this zxid
    #[arg(long, value_name = "ZXID", value_parser = parse_zxid)]
    pub to: Option<Zxid>,
    /// Of a data directory, list all transactions too
    #[arg(long)]
    pub transactions: bool,
    /// List sessions and znodes
    #[arg(long)]
    pub nodes: bool,
    /// With their data (text as it is, else base64; in JSON always base64)
    #[arg(long)]
    pub data: bool,
    /// Only what it comes to: no transactions, no sizes
    #[arg(long, conflicts_with_all = ["transactions", "nodes"])]
    pub summary: bool,
    /// Only znodes here and below are listed and summed up
    #[arg(long, value_name = "PATH", default_value = "/", value_parser = znode_path)]
    pub subtree: String,
    /// How deep below it sizes are told apart
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub depth: usize,
    /// How many snapshots a purge would keep (autopurge.snapRetainCount)
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub retain: usize,
    /// The servers' jute.maxbuffer
    #[arg(long, value_name = "BYTES", default_value_t = 0xf_ffff)]
    pub jute_maxbuffer: usize,
    /// As a server with snapshot.trust.empty
    #[arg(long)]
    pub trust_empty: bool,
    /// As a standalone server [default: as the files look]
    #[arg(long, conflicts_with = "member")]
    pub standalone: bool,
    /// As a member of an ensemble
    #[arg(long)]
    pub member: bool,
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
pub struct ServerArgs {
    /// The configuration file; or a standalone server's client port and data directory, and
    /// perhaps tickTime and maxClientCnxns
    #[arg(value_name = "PATH/zoo.cfg", required = true, num_args = 1..=4)]
    pub config: Vec<OsString>,
    /// Say what is wrong with the configuration, and what in it has no effect here; start nothing
    #[arg(long)]
    pub check: bool,
    /// A setting as the JVM takes it, for instance -Dzookeeper.snapCount=100000
    #[arg(short = 'D', value_name = "KEY=VALUE")]
    pub define: Vec<String>,
    /// What is recorded.
    #[command(flatten)]
    pub record: RecordArgs,
}

impl ServerArgs {
    /// Where the configuration comes from.
    pub fn origin(&self) -> Origin {
        Origin::of_words(&self.config)
    }
}

/// Arguments of `zabkeeper dev`.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct DevArgs {
    /// How many nodes
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=99))]
    pub nodes: u16,
    /// Where data and configuration are kept [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The first node's client port; the others take the ports after it
    #[arg(long, default_value_t = 2181, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub client_port: u16,
    /// What is recorded.
    #[command(flatten)]
    pub record: RecordArgs,
}

/// Arguments for the journal.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
pub struct RecordArgs {
    /// Journal every event that enters the core, to FILE.000001, FILE.000002, ...: what `sim
    /// replay --record FILE` repeats. It holds all that clients send, data and passwords too.
    /// (dev: FILE is a directory, with a journal for each node)
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// About how much the journal may take on disk, MiB. The oldest segments go first; without
    /// its first one a run can be read, but not be replayed
    #[arg(long, value_name = "MIB", default_value_t = 1024, requires = "record", value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    pub record_limit: u64,
}

impl RecordArgs {
    /// Where and how much to record; `None` if nothing is.
    pub fn options(&self) -> Option<JournalOptions> {
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
    fn the_two_commands_and_their_defaults() {
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
    fn a_standalone_server_may_be_described_in_words() {
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
    fn a_journal_has_a_limit() {
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
