//! Protocol scripts: stories of whole ensembles, step by step, with what comes of each step
//! beside it.
//!
//! A script is text. Lines that begin with `#` are for the reader; `>` begins a command; what
//! the command leads to follows, indented. `fuzz/scripts/README.md` has the commands.

mod ensemble;
mod requests;
mod strangers;

use std::collections::BTreeMap;

use zabkeeper_core::event::Port;
use zabkeeper_core::types::Zxid;

use crate::trace::story::{self, What};
use crate::world::{FailingOp, Host, World};
use requests::request;

/// Runs a script; returns it with what really came of each command.
///
/// # Errors
/// The line that cannot be understood, or the rule that was broken.
pub fn run(text: &str) -> Result<String, String> {
    let mut stage = Stage::default();
    let mut out = String::new();
    for (i, line) in text.lines().enumerate() {
        if line.starts_with("  ") {
            continue;
        }
        out.push_str(line);
        out.push('\n');
        if let Some(command) = line.strip_prefix('>') {
            let told = stage.command(command.trim());
            for line in told.map_err(|what| format!("line {}: {what}", i + 1))? {
                out.push_str("  ");
                out.push_str(&line);
                out.push('\n');
            }
            if let Some(violation) = stage.world.as_ref().and_then(World::violation) {
                return Err(format!("line {}: {violation}", i + 1));
            }
        } else if !line.is_empty() && !line.starts_with('#') {
            return Err(format!("line {}: neither `#`, `>` nor indented", i + 1));
        }
    }
    Ok(out)
}

#[derive(Default)]
struct Stage {
    world: Option<World>,
    clients: BTreeMap<String, usize>,
    strangers: BTreeMap<String, usize>,
    shows_election: bool,
    hides_messages: bool,
}

impl Stage {
    fn command(&mut self, text: &str) -> Result<Vec<String>, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (first, rest) = words.split_first().ok_or("an empty command")?;
        if *first == "repeat" {
            let (times, ms) = (number(rest.first())?, number(rest.get(1))?);
            let again = rest.get(2..).unwrap_or_default().join(" ");
            let mut told = Vec::new();
            for _ in 0..times {
                told.extend(self.command(&again)?);
                told.extend(self.command(&format!("run {ms}"))?);
            }
            return Ok(told);
        }
        if *first == "ensemble" {
            self.world = Some(ensemble::ensemble(rest)?);
            return Ok(Vec::new());
        }
        let world = self.world.as_mut().ok_or("the first command is `ensemble`")?;
        let servers = world.roles().len();
        match *first {
            "start" => world.start_servers(&numbers(rest, servers)?),
            "kill" | "power-off" => {
                for server in numbers(rest, servers)? {
                    world.kill_server(server, *first == "power-off");
                }
            }
            "run" => world.run_for(number(rest.first())?),
            "cut" => {
                let pair = numbers(rest, servers)?;
                world.cut_servers(pair[0], pair[pair.len() - 1]);
            }
            "block" => {
                let pair = numbers(rest, servers)?;
                world.block_servers(pair[0], pair[pair.len() - 1]);
            }
            "isolate" => {
                for server in numbers(rest, servers)? {
                    for other in (0..servers).filter(|other| *other != server) {
                        world.block_servers(server, other);
                        world.block_servers(other, server);
                    }
                }
            }
            "hold" | "release" | "deliver" => {
                let pair = numbers(rest.get(..2).unwrap_or_default(), servers)?;
                let [from, to] = pair[..] else { return Err(String::from("from whom to whom?")) };
                match *first {
                    "hold" => world.hold_servers(from, to),
                    "release" => world.release_servers(from, to),
                    _ => {
                        for _ in 0..rest.get(2).map_or(Ok(1), |_| number(rest.get(2)))? {
                            if !world.deliver_message(from, to) {
                                return Err(format!(
                                    "nothing waits from {} to {}",
                                    from + 1,
                                    to + 1
                                ));
                            }
                        }
                    }
                }
            }
            "hold-disk" | "release-disk" => {
                for server in numbers(rest, servers)? {
                    match *first {
                        "hold-disk" => world.hold_disk(server),
                        _ => world.release_disk(server),
                    }
                }
            }
            "sync-disk" => {
                let server = numbers(rest.get(..1).unwrap_or_default(), servers)?[0];
                for _ in 0..rest.get(1).map_or(Ok(1), |_| number(rest.get(1)))? {
                    if !world.sync_disk(server) {
                        return Err(format!("server {} syncs nothing", server + 1));
                    }
                }
            }
            "fail-disk" => {
                let server = numbers(rest.get(..1).unwrap_or_default(), servers)?[0];
                let op = match rest.get(1) {
                    Some(&"sync") => FailingOp::Sync,
                    Some(&"write") => FailingOp::Write,
                    Some(&"read") => FailingOp::Read,
                    _ => return Err(String::from("which operation fails: sync, write, read?")),
                };
                world.fail_disk(server, op);
            }
            "tear" => {
                let bytes = number(rest.get(1))? as usize;
                let server = numbers(rest.get(..1).unwrap_or_default(), servers)?[0];
                world.power_off_torn(server, bytes);
            }
            "epoch" => {
                let server = numbers(rest.get(..1).unwrap_or_default(), servers)?[0];
                let (current, accepted) = (number(rest.get(1))?, number(rest.get(2))?);
                world.prepare_epochs(server, current as i64, accepted as i64)?;
            }
            "log" => {
                let server = numbers(rest.get(..1).unwrap_or_default(), servers)?[0];
                let range = rest.get(1).and_then(|range| range.split_once(".."));
                let (from, to) = range.ok_or("a log is FROM..TO")?;
                world.prepare_log(server, zxid(Some(&from))?, zxid(Some(&to))?)?;
            }
            "snapshot" => {
                let server = numbers(rest.get(..1).unwrap_or_default(), servers)?[0];
                let from_leader = !rest.contains(&"own");
                world.prepare_snapshot(server, zxid(rest.get(1))?, from_leader)?;
            }
            "files" => {
                let server = numbers(rest, servers)?[0];
                return Ok(world.files(server));
            }
            "stranger" => {
                let [name, server, port] = rest else {
                    return Err(String::from("stranger NAME SERVER PORT"));
                };
                let port = match *port {
                    "client" => Port::Client,
                    "quorum" => Port::Quorum,
                    "election" => Port::Election,
                    other => return Err(format!("{other} is no port")),
                };
                let server = numbers(&[*server], servers)?[0];
                let stranger = world.add_stranger(server, port);
                self.strangers.insert(String::from(*name), stranger);
            }
            "heal" => world.unblock_servers(),
            "slow-disk" => {
                let factor = number(rest.get(1))?;
                let server = numbers(rest.get(..1).unwrap_or_default(), servers)?[0];
                world.slow_disk(server, factor);
            }
            "show" if rest == ["election"] => self.shows_election = true,
            "hide" if rest == ["election"] => self.shows_election = false,
            "show" if rest == ["messages"] => self.hides_messages = false,
            "hide" if rest == ["messages"] => self.hides_messages = true,
            "state" => return Ok(world.roles()),
            "client" => {
                let name = rest.first().ok_or("which client?")?;
                let server = numbers(rest.get(1..2).unwrap_or_default(), servers)?[0];
                let restarts_xids = rest.last() == Some(&"anew");
                let timeout = rest.get(2).filter(|word| **word != "anew");
                let timeout_ms = timeout.map_or(Ok(4000), |word| number(Some(word)))?;
                let client = world.add_client(server, timeout_ms as i32, restarts_xids);
                self.clients.insert(String::from(*name), client);
            }
            name if self.strangers.contains_key(name) => {
                let stranger = self.strangers[name];
                match rest {
                    ["sends", bytes @ ..] => {
                        world.stranger_sends(stranger, strangers::bytes(bytes)?);
                    }
                    ["closes"] => world.stranger_closes(stranger),
                    ["heard"] => {
                        return Ok(strangers::shown(&world.stranger_heard(stranger)));
                    }
                    _ => return Err(String::from("a stranger sends, closes or has heard")),
                }
            }
            name => {
                let client = *self.clients.get(name).ok_or(format!("unknown command {name}"))?;
                match rest {
                    ["close"] => world.close_client(client),
                    ["vanish"] => world.lose_client(client),
                    ["move"] => world.move_client(client),
                    _ => world.ask(client, &request(rest)?),
                }
            }
        }
        let is_shown = |what: &What| match what {
            What::Sent { from: Host::Stranger(_), .. }
            | What::Sent { to: Host::Stranger(_), .. } => true,
            What::Sent { text, .. } => {
                let is_election = text.starts_with("NOTIFICATION") || text.starts_with("HELLO");
                !self.hides_messages && (self.shows_election || !is_election)
            }
            What::At(_, text) => !text.starts_with("closes"),
            What::Turns { .. } | What::Note(_) => true,
        };
        let steps = world.take_story();
        Ok(steps.iter().map(|s| &s.what).filter(|what| is_shown(what)).map(story::text).collect())
    }
}

fn number(word: Option<&&str>) -> Result<u64, String> {
    let word = word.ok_or("a number is missing")?;
    word.parse().map_err(|_| format!("{word} is not a number"))
}

fn zxid(word: Option<&&str>) -> Result<Zxid, String> {
    let word = word.ok_or("a zxid is missing")?;
    let digits = word.strip_prefix("0x").ok_or(format!("{word} is not a zxid: 0x…"))?;
    i64::from_str_radix(digits, 16).map(Zxid).map_err(|_| format!("{word} is not a zxid"))
}

/// Server numbers, as indices.
fn numbers(words: &[&str], servers: usize) -> Result<Vec<usize>, String> {
    if words == ["all"] {
        return Ok((0..servers).collect());
    }
    if words.is_empty() {
        return Err(String::from("which server?"));
    }
    let index = |word: &&str| match number(Some(word))? as usize {
        n if (1..=servers).contains(&n) => Ok(n - 1),
        n => Err(format!("there is no server {n}")),
    };
    words.iter().map(index).collect()
}
