//! What was heard between real servers: connections, bytes, and who lived when.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use flate2::read::GzDecoder;
use serde::Deserialize;
use zabkeeper_core::event::Port;

/// One thing that was heard on a connection.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) ms: u64,
    pub(super) conn: u32,
    pub(super) what: What,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum What {
    Open,
    /// Bytes of who dialled, or of who accepted.
    Bytes(Side, Vec<u8>),
    /// That side closed.
    Closed(Side),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Side {
    Dialled,
    Accepted,
}

/// Who talked on a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) port: Port,
    pub(super) number: u16,
    pub(super) accepted: i64,
    /// The server that dialled, if it was one and said so.
    pub(super) dialled: Option<i64>,
}

impl Ends {
    /// Which side a server is on, if it is on any.
    pub(super) fn side_of(&self, server: i64) -> Option<Side> {
        match server {
            n if n == self.accepted => Some(Side::Accepted),
            n if Some(n) == self.dialled => Some(Side::Dialled),
            _ => None,
        }
    }
}

/// A process, from its start to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    pub(super) server: i64,
    pub(super) from_ms: u64,
    pub(super) to_ms: u64,
    /// When the narrator killed it; by its own clock, which runs ahead a little.
    pub(super) killed_ms: u64,
    /// Started with a property that only ZooKeeper's own tests know.
    pub(super) is_odd: bool,
    /// Stopped some time before it was killed: hears nothing after the last that it said.
    pub(super) is_stopped: bool,
}

/// All that was heard in one scenario.
#[derive(Debug)]
pub(super) struct Capture {
    pub(super) heard: Vec<Heard>,
    pub(super) conns: BTreeMap<u32, Ends>,
    pub(super) lives: Vec<Life>,
}

#[derive(Deserialize)]
struct Line {
    ms: u64,
    conn: u32,
    link: String,
    port: u16,
    dir: String,
    #[serde(default)]
    hex: String,
}

#[derive(Deserialize)]
struct Step {
    ms: u64,
    step: String,
}

impl Capture {
    /// Reads `name.jsonl.gz` and `name.steps.jsonl.gz` of a folder.
    pub(super) fn read(folder: &Path, name: &str) -> Capture {
        let mut heard = Vec::new();
        let mut conns = BTreeMap::new();
        for line in lines::<Line>(&folder.join(format!("{name}.jsonl.gz"))) {
            let (port, base) = match line.link.as_str() {
                "client" => (Port::Client, 0),
                "quorum" => (Port::Quorum, 100),
                "election" => (Port::Election, 200),
                other => panic!("{name}: a link called {other}"),
            };
            let accepted = i64::from((line.port - base) % 100);
            let number = line.port;
            conns.entry(line.conn).or_insert(Ends { port, number, accepted, dialled: None });
            let side = if line.dir.ends_with("c2s") { Side::Dialled } else { Side::Accepted };
            let what = match line.dir.as_str() {
                "open" => What::Open,
                "c2s" | "s2c" => What::Bytes(side, unhex(&line.hex)),
                _ => What::Closed(side),
            };
            heard.push(Heard { ms: line.ms, conn: line.conn, what });
        }
        for (conn, ends) in &mut conns {
            let said = heard.iter().filter(|h| h.conn == *conn).filter_map(|h| match &h.what {
                What::Bytes(Side::Dialled, bytes) => Some(bytes.as_slice()),
                _ => None,
            });
            ends.dialled = who(ends.port, &said.collect::<Vec<_>>().concat());
        }
        let mut lives = lives(lines::<Step>(&folder.join(format!("{name}.steps.jsonl.gz"))));
        for life in lives.iter_mut().filter(|life| life.is_stopped) {
            let last = heard.iter().rfind(|h| match h.what {
                What::Bytes(side, _) => {
                    let is_here = (life.from_ms..life.to_ms).contains(&h.ms);
                    is_here && conns[&h.conn].side_of(life.server) == Some(side)
                }
                What::Open | What::Closed(_) => false,
            });
            life.to_ms = last.map_or(life.to_ms, |h| h.ms + 1);
        }
        Capture { heard, conns, lives }
    }
}

fn lines<T: for<'a> Deserialize<'a>>(path: &Path) -> impl Iterator<Item = T> {
    let shown = path.display().to_string();
    let file = File::open(path).unwrap_or_else(|e| panic!("{shown}: {e}"));
    BufReader::new(GzDecoder::new(file)).lines().map(move |line| {
        let line = line.unwrap_or_else(|e| panic!("{shown}: {e}"));
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{shown}: {e}: {line}"))
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("hex");
        u8::from_str_radix(pair, 16).expect("hex")
    };
    digits.map(byte).collect()
}

/// The server that began a conversation with these bytes.
fn who(port: Port, said: &[u8]) -> Option<i64> {
    let long = |at: usize| said.get(at..at + 8)?.try_into().ok().map(i64::from_be_bytes);
    match port {
        Port::Client => None,
        // Protocol version, then the id.
        Port::Election => long(8),
        // FOLLOWERINFO or OBSERVERINFO: type, zxid, length of the record, the id.
        Port::Quorum => long(16),
    }
}

fn lives(steps: impl Iterator<Item = Step>) -> Vec<Life> {
    let mut lives: Vec<Life> = Vec::new();
    let mut end = 0;
    for Step { ms, step } in steps {
        end = ms;
        let words: Vec<&str> = step.split_whitespace().collect();
        let number = |word: &&str| word.parse::<i64>().ok();
        if let ["start", "server", server, options @ ..] = words.as_slice() {
            lives.push(Life {
                server: number(server).expect("a server's number"),
                from_ms: ms,
                to_ms: u64::MAX,
                killed_ms: u64::MAX,
                is_odd: !options.is_empty(),
                is_stopped: false,
            });
        }
        if let ["kill", "server", server, ..] = words.as_slice()
            && let Some(life) = lives.iter_mut().rfind(|life| Some(life.server) == number(server))
        {
            life.killed_ms = ms;
        }
        if let ["killed", "follower", server] = words.as_slice()
            && let Some(life) = lives.iter_mut().rfind(|life| Some(life.server) == number(server))
        {
            (life.is_stopped, life.killed_ms) = (true, ms);
        }
    }
    // The narrator's clock runs a little ahead: a process is heard until it starts again.
    for at in 0..lives.len() {
        let Life { server, from_ms, .. } = lives[at];
        let next = lives.iter().filter(|life| life.server == server && life.from_ms > from_ms);
        lives[at].to_ms = next.map(|life| life.from_ms).min().unwrap_or(end + 1000);
    }
    lives
}
