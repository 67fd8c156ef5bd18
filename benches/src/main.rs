//! Load on a running ensemble, over the client protocol of the core's own client.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::{Parser, Subcommand, ValueEnum};
use hdrhistogram::Histogram;
use zabkeeper_core::client::{Client, ClientEvent, ClientOptions, Request};
use zabkeeper_core::types::Time;
use zabkeeper_core::wire::client::{Acl, CreateRequest, Id, SetDataRequest, WatchedRequest};

/// Measures ZooKeeper-compatible ensembles.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Loads an ensemble and prints operations a second and latencies.
    Load(Load),
}

#[derive(clap::Args, Clone)]
struct Load {
    /// host:port of the servers, with commas between.
    #[arg(long, default_value = "127.0.0.1:2181,127.0.0.1:2182,127.0.0.1:2183")]
    servers: String,
    /// Sessions, each on a thread of its own.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Requests that each session keeps under way.
    #[arg(long, default_value_t = 16)]
    outstanding: usize,
    /// What is asked.
    #[arg(long, value_enum, default_value = "set")]
    op: Op,
    /// Bytes of data.
    #[arg(long, default_value_t = 128)]
    bytes: usize,
    /// How long is measured, after one second of warm-up.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Op {
    /// setData on one node a session.
    Set,
    /// create, sequential, below one node a session.
    Create,
    /// getData.
    Get,
    /// Nine getData, one setData.
    Mixed,
}

struct Shared {
    measuring: AtomicBool,
    stop: AtomicBool,
    failed: AtomicU64,
}

fn main() -> ExitCode {
    let Command::Load(load) = Arguments::parse().command;
    match run(&load) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zabkeeper-benches: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(load: &Load) -> Result<(), String> {
    let shared = Arc::new(Shared {
        measuring: AtomicBool::new(false),
        stop: AtomicBool::new(false),
        failed: AtomicU64::new(0),
    });
    let sessions: Vec<_> = (0..load.connections)
        .map(|number| {
            let (load, shared) = (load.clone(), shared.clone());
            thread::spawn(move || Session::run(number, &load, &shared))
        })
        .collect();
    thread::sleep(Duration::from_secs(1));
    shared.measuring.store(true, Ordering::Relaxed);
    let begun = Instant::now();
    thread::sleep(Duration::from_secs(load.seconds));
    shared.measuring.store(false, Ordering::Relaxed);
    let seconds = begun.elapsed().as_secs_f64();
    shared.stop.store(true, Ordering::Relaxed);
    let mut all = histogram()?;
    for session in sessions {
        let latencies = session.join().map_err(|_| "a session panicked")??;
        all.add(latencies).map_err(|e| e.to_string())?;
    }
    let ms = |q: f64| all.value_at_quantile(q) as f64 / 1000.0;
    println!(
        "{:.0} operations/s, {} failed; latency p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, max {:.2} ms",
        all.len() as f64 / seconds,
        shared.failed.load(Ordering::Relaxed),
        ms(0.5),
        ms(0.99),
        ms(0.999),
        all.max() as f64 / 1000.0
    );
    Ok(())
}

struct Session<'a> {
    load: &'a Load,
    shared: &'a Shared,
    client: Client,
    origin: Instant,
    stream: Option<TcpStream>,
    path: String,
    ready: bool,
    made: bool,
    sent: std::collections::VecDeque<(i32, Instant)>,
    count: u64,
    latencies: Histogram<u64>,
}

impl Session<'_> {
    fn run(number: usize, load: &Load, shared: &Shared) -> Result<Histogram<u64>, String> {
        let addresses: Vec<&str> = load.servers.split(',').collect();
        let options = ClientOptions {
            servers: addresses.len(),
            first_server: number % addresses.len(),
            ..ClientOptions::default()
        };
        let mut session = Session {
            load,
            shared,
            client: Client::new(options, Time(0)),
            origin: Instant::now(),
            stream: None,
            path: format!("/load-{}-{number}", std::process::id()),
            ready: false,
            made: false,
            sent: Default::default(),
            count: 0,
            latencies: histogram()?,
        };
        let mut buffer = vec![0; 64 << 10];
        while !shared.stop.load(Ordering::Relaxed) {
            session.turn(&addresses, &mut buffer)?;
        }
        Ok(session.latencies)
    }

    fn now(&self) -> Time {
        Time(self.origin.elapsed().as_nanos() as u64)
    }

    fn turn(&mut self, addresses: &[&str], buffer: &mut [u8]) -> Result<(), String> {
        self.client.tick(self.now());
        while let Some(event) = self.client.next_event() {
            self.event(event, addresses)?;
        }
        if self.ready {
            self.submit()?;
        }
        let Some(stream) = &mut self.stream else {
            thread::sleep(Duration::from_millis(10));
            return Ok(());
        };
        if let Some(bytes) = self.client.take_output() {
            stream.write_all(&bytes).map_err(|e| format!("write: {e}"))?;
        }
        match stream.read(buffer) {
            Ok(0) => {
                self.stream = None;
                self.client.disconnected(self.now());
            }
            Ok(n) => self.client.received(self.now(), Bytes::copy_from_slice(&buffer[..n])),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => {
                self.stream = None;
                self.client.disconnected(self.now());
            }
        }
        Ok(())
    }

    fn event(&mut self, event: ClientEvent, addresses: &[&str]) -> Result<(), String> {
        match event {
            ClientEvent::Connect { server } => match TcpStream::connect(addresses[server]) {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(|e| e.to_string())?;
                    let timeout = Some(Duration::from_millis(100));
                    stream.set_read_timeout(timeout).map_err(|e| e.to_string())?;
                    self.stream = Some(stream);
                    self.client.connected(self.now());
                }
                Err(_) => self.client.disconnected(self.now()),
            },
            ClientEvent::Disconnect => self.stream = None,
            ClientEvent::Attached { .. } => {
                self.ready = true;
                if !self.made {
                    self.made = true;
                    let path = self.path.clone();
                    self.ask(&create(&path, self.load.bytes, 0))?;
                }
            }
            ClientEvent::Detached => self.ready = false,
            ClientEvent::Reply { xid, result, .. } => {
                let Some((of, since)) = self.sent.pop_front() else { return Ok(()) };
                if of != xid {
                    return Err(format!("reply to {xid}, expected {of}"));
                }
                if result.is_err() {
                    self.shared.failed.fetch_add(1, Ordering::Relaxed);
                } else if self.shared.measuring.load(Ordering::Relaxed) {
                    self.latencies.saturating_record(since.elapsed().as_micros() as u64);
                }
            }
            ClientEvent::Watch { .. } => {}
            ClientEvent::Ended(why) => return Err(format!("the session ended: {why}")),
        }
        Ok(())
    }

    fn submit(&mut self) -> Result<(), String> {
        while self.sent.len() < self.load.outstanding {
            self.count += 1;
            let set = match self.load.op {
                Op::Set => true,
                Op::Get | Op::Create => false,
                Op::Mixed => self.count.is_multiple_of(10),
            };
            let path = self.path.as_str();
            let request = if matches!(self.load.op, Op::Create) {
                create(&format!("{path}/n-"), self.load.bytes, 2)
            } else if set {
                let data = Some(Bytes::from(vec![b'x'; self.load.bytes]));
                Request::SetData(SetDataRequest { path: path.into(), data, version: -1 })
            } else {
                Request::GetData(WatchedRequest { path: path.into(), watch: false })
            };
            self.ask(&request)?;
        }
        Ok(())
    }

    fn ask(&mut self, request: &Request) -> Result<(), String> {
        let xid = self.client.submit(self.now(), request).map_err(|e| e.to_string())?;
        self.sent.push_back((xid, Instant::now()));
        Ok(())
    }
}

/// Microseconds, up to a minute.
fn histogram() -> Result<Histogram<u64>, String> {
    Histogram::new_with_bounds(1, 60_000_000, 3).map_err(|e| e.to_string())
}

fn create(path: &str, bytes: usize, flags: i32) -> Request {
    let anyone = Id { scheme: "world".into(), id: "anyone".into() };
    Request::Create(CreateRequest {
        path: path.into(),
        data: Some(Bytes::from(vec![b'x'; bytes])),
        acl: vec![Acl { perms: 31, id: anyone }],
        flags,
    })
}
