//! The data that four-letter words show.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

use crate::admin::metrics::{BufferSizes, Metrics, ServerStats, Summary};
use crate::config::{EnsembleConfig, LearnerType};
use crate::event::{HostStats, Progress};
use crate::store::QuotaFigures;
use crate::types::{ServerId, SessionId, Zxid};

/// The server at one moment.
#[derive(Debug)]
pub struct Report<'a> {
    /// Whether clients are served.
    pub serving: Serving,
    /// As what.
    pub mode: Mode,
    /// All client connections. Only `stat` and `cons` look at it.
    pub clients: Vec<Client>,
    /// How many client connections there are.
    pub connections: u64,
    /// Requests that have no reply yet.
    pub outstanding: u64,
    /// The last applied transaction; of a new leader the beginning of its epoch.
    pub zxid: Zxid,
    /// Znodes, with the system's own.
    pub node_count: u64,
    /// Bytes of paths and data.
    pub data_size: u64,
    /// Ephemeral znodes.
    pub ephemerals: u64,
    /// Sessions known to the whole ensemble.
    pub global_sessions: u64,
    /// Sessions known to this server alone.
    pub local_sessions: u64,
    /// Data and child watches.
    pub watches: u64,
    /// The watches. Only `wchs`, `wchc` and `wchp` look at it.
    pub watched: Watched<'a>,
    /// Bytes of watch events sent.
    pub watch_bytes: u64,
    /// Since the start of serving, in milliseconds.
    pub uptime_ms: u64,
    /// The process and its machine.
    pub host: &'a HostStats,
    /// For `dump` alone.
    pub dump: Option<Dump>,
    /// The tree's digests of late, for `hash` alone.
    pub digests: Vec<(Zxid, u64)>,
    /// `stmk` sets it, `gtmk` tells it; it has no other effect.
    pub trace_mask: i64,
    /// Voting members of the ensemble; none for a standalone server.
    pub quorum_size: Option<u64>,
    /// Of a leader.
    pub leadership: Option<Leadership>,
    /// Of an observer: whom it observes.
    pub observed: Option<ServerId>,
    /// Of an observer master: how many observers it has.
    pub observers: Option<u64>,
    /// Quotas and their usage, by the first name of the paths that they are for.
    pub quotas: BTreeMap<String, QuotaFigures>,
    /// Writes that a quota's hard limit has refused, in the same way.
    pub quota_refusals: &'a BTreeMap<String, u64>,
    /// The client side's figures.
    pub stats: &'a ServerStats,
    /// All other figures.
    pub metrics: &'a Metrics,
    /// The configuration in force.
    pub conf: Conf<'a>,
}

/// Whether clients are served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Serving {
    /// They are.
    Yes,
    /// The server looks for a leader, or gets in step with one.
    No,
    /// The data directory is being loaded.
    Loading(Recovery),
}

/// How far loading the data directory has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recovery {
    /// The last report of the disk.
    pub progress: Progress,
    /// How long it has taken until then, in milliseconds.
    pub elapsed_ms: u64,
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Progress { bytes_done, bytes_total, entries } = self.progress;
        let percent = match bytes_total {
            0 => 0,
            total => u128::from(bytes_done.min(total)) * 100 / u128::from(total),
        };
        write!(f, "Loading data: {percent}% ({bytes_done} of {bytes_total} bytes), ")?;
        write!(f, "{entries} entries, ")?;
        let rest = u128::from(bytes_total.saturating_sub(bytes_done));
        match rest * u128::from(self.elapsed_ms) {
            0 => f.write_str("time left unknown"),
            _ if bytes_done == 0 => f.write_str("time left unknown"),
            work => write!(f, "about {} s left", (work / u128::from(bytes_done)).div_ceil(1000)),
        }
    }
}

/// The role that `Mode:` shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Leads the ensemble.
    Leader,
    /// Follows the leader and votes.
    Follower,
    /// Follows the leader without a vote.
    Observer,
    /// Alone.
    Standalone,
    /// Without a quorum, for clients that accept it.
    ReadOnly,
}

impl Mode {
    /// As `srvr` and `mntr` write it.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Leader => "leader",
            Mode::Follower => "follower",
            Mode::Observer => "observer",
            Mode::Standalone => "standalone",
            Mode::ReadOnly => "read-only",
        }
    }

    /// `zk_peer_state` of a serving member; a standalone server has none.
    pub(super) fn peer_state(self) -> Option<&'static str> {
        match self {
            Mode::Leader => Some("leading - broadcast"),
            Mode::Follower => Some("following - broadcast"),
            Mode::Observer => Some("observing - broadcast"),
            Mode::Standalone => None,
            Mode::ReadOnly => Some("looking"),
        }
    }
}

/// Watches of data, in the view that was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Watched<'a> {
    /// How many.
    Summary {
        /// Connections that watch.
        connections: usize,
        /// Paths that are watched.
        paths: usize,
        /// Watches.
        watches: usize,
    },
    /// Sessions, each with its paths.
    BySession(Vec<(SessionId, Vec<&'a str>)>),
    /// Paths, each with its sessions.
    ByPath(Vec<(&'a str, Vec<SessionId>)>),
}

/// The sessions that are alive, and when they expire (`dump`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dump {
    /// Sessions that this server alone knows, if there may be any.
    pub local: Option<Expiring<SessionId>>,
    /// Sessions that the ensemble knows.
    pub global: GlobalSessions,
    /// Ephemerals by session.
    pub ephemerals: Vec<(SessionId, Vec<String>)>,
    /// Connections, each with its session.
    pub connections: Expiring<(SocketAddr, SessionId)>,
}

/// By wall-clock time, ms, in its order.
pub type Expiring<T> = Vec<(i64, Vec<T>)>;

/// The sessions of the ensemble, as far as this server knows them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GlobalSessions {
    /// When they expire: it tells.
    Tracked(Expiring<SessionId>),
    /// That they exist, each with its time-out, ms.
    Known(Vec<(SessionId, i32)>),
}

/// A leader's own figures.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Leadership {
    /// Connected learners of every kind.
    pub learners: u64,
    /// Followers that receive proposals.
    pub synced_followers: u64,
    /// Of these, those without a vote.
    pub synced_non_voting_followers: u64,
    /// Observers in step.
    pub synced_observers: u64,
    /// `sync` requests that wait for a commit.
    pub pending_syncs: u64,
    /// Since it serves as leader, in milliseconds.
    pub uptime_ms: u64,
    /// Of proposals, in bytes.
    pub proposal_sizes: BufferSizes,
}

/// One client connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Client {
    /// The other side.
    pub address: SocketAddr,
    /// Whether its bytes are read: not from who sent a four-letter word or is paused.
    pub reading: bool,
    /// Whether replies wait to be written.
    pub writing: bool,
    /// Requests without a reply.
    pub queued: u64,
    /// Packets from it.
    pub received: u64,
    /// Packets to it.
    pub sent: u64,
    /// Its session, once it has one.
    pub session: Option<ClientSession>,
}

/// The last request of a connection's session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientSession {
    /// Its id.
    pub id: SessionId,
    /// The last operation that was answered, in four letters; `null` before the first, and `NA`
    /// once the figures began anew.
    pub last_operation: &'static str,
    /// When the connection was established, wall clock in milliseconds.
    pub established_ms: i64,
    /// Negotiated, in milliseconds.
    pub timeout_ms: i32,
    /// The client's number of the last answered request of its own; none once the figures began
    /// anew.
    pub last_cxid: Option<i64>,
    /// Of the last reply; 0 before the first, -1 once the figures began anew.
    pub last_zxid: Zxid,
    /// When that was sent, in milliseconds of the monotonic clock.
    pub last_response_ms: u64,
    /// How long that request took, in milliseconds.
    pub last_latency_ms: u64,
    /// Of all of this connection's requests, in milliseconds.
    pub latency: Summary,
}

/// The configuration as `conf` shows it.
#[derive(Clone, Debug)]
pub struct Conf<'a> {
    /// Where clients connect.
    pub client_port: i32,
    /// The same for TLS; -1 without.
    pub secure_client_port: i32,
    /// Snapshots, with `version-2`.
    pub data_dir: String,
    /// Its size in bytes.
    pub data_dir_size: u64,
    /// Logs, with `version-2`.
    pub data_log_dir: String,
    /// Its size in bytes.
    pub data_log_size: u64,
    /// The unit of time-outs.
    pub tick_time_ms: u64,
    /// Connections of one client address, 0 for no limit.
    pub max_client_connections: u64,
    /// The least session time-out.
    pub min_session_timeout_ms: i64,
    /// The greatest.
    pub max_session_timeout_ms: i64,
    /// Waiting connections; -1 for the system's default.
    pub listen_backlog: i32,
    /// `myid`; 0 of a standalone server.
    pub server_id: i64,
    /// Of an ensemble's member.
    pub ensemble: Option<EnsembleConf<'a>>,
}

/// The lines that `conf` adds for a member of an ensemble.
#[derive(Clone, Debug)]
pub struct EnsembleConf<'a> {
    /// Ticks to connect and get in step.
    pub init_limit: u64,
    /// Ticks to stay in step.
    pub sync_limit: u64,
    /// Of this server's election addresses.
    pub election_port: u16,
    /// Of this server's quorum addresses.
    pub quorum_port: u16,
    /// Votes or not.
    pub role: LearnerType,
    /// All members.
    pub members: &'a EnsembleConfig,
}
