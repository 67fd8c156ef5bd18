//! Protocol scripts: stories of whole ensembles, step by step, with what comes of each step
//! beside it.
//!
//! A script is text. Lines that begin with `#` are for the reader; `>` begins a command; what
//! the command leads to follows, indented. `fuzz/scripts/README.md` has the commands.

use std::collections::BTreeMap;

use bytes::Bytes;
use zabkeeper_core::client::{MultiOp, Request};
use zabkeeper_core::wire::client::{
    Acl, CheckRequest, CreateRequest, DeleteRequest, Id, PathRequest, SetDataRequest,
    WatchedRequest,
};

use crate::plan::{DiskSpeed, Plan, Weather};
use crate::trace::story::{self, What};
use crate::world::World;

/// Runs a script; returns it with what really came of each command.
///
/// # Errors
/// The line that cannot be understood, or the rule that was broken.
pub fn run(text: &str) -> Result<String, String> {
    let mut stage = Stage { world: None, clients: BTreeMap::new(), shows_election: false };
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

struct Stage {
    world: Option<World>,
    clients: BTreeMap<String, usize>,
    shows_election: bool,
}

impl Stage {
    fn command(&mut self, text: &str) -> Result<Vec<String>, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (first, rest) = words.split_first().ok_or("an empty command")?;
        if *first == "ensemble" {
            self.world = Some(ensemble(rest)?);
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
            "heal" => world.unblock_servers(),
            "slow-disk" => {
                let factor = number(rest.get(1))?;
                world.slow_disk(numbers(&rest[..1], servers)?[0], factor);
            }
            "show" if rest == ["election"] => self.shows_election = true,
            "hide" if rest == ["election"] => self.shows_election = false,
            "state" => return Ok(world.roles()),
            "client" => {
                let name = rest.first().ok_or("which client?")?;
                let server = numbers(rest.get(1..2).unwrap_or_default(), servers)?[0];
                let timeout_ms = rest.get(2).map_or(Ok(4000), |_| number(rest.get(2)))?;
                let client = world.add_client(server, timeout_ms as i32);
                self.clients.insert(String::from(*name), client);
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
            What::Sent { text, .. } => {
                self.shows_election
                    || !(text.starts_with("NOTIFICATION") || text.starts_with("HELLO"))
            }
            What::At(_, text) => !text.starts_with("closes"),
            What::Note(_) => true,
        };
        let steps = world.take_story();
        Ok(steps.iter().map(|s| &s.what).filter(|what| is_shown(what)).map(story::text).collect())
    }
}

fn ensemble(words: &[&str]) -> Result<World, String> {
    let participants = number(words.first())? as usize;
    let mut plan = Plan {
        seed: 1,
        participants,
        observers: 0,
        groups: Vec::new(),
        settings: vec![
            ("tickTime", String::from("1000")),
            ("initLimit", String::from("5")),
            ("syncLimit", String::from("2")),
            ("preAllocSize", String::from("1")),
        ],
        weather: Weather {
            delay_us: 1000,
            jitter_us: 0,
            loss_permille: 0,
            split_permille: 0,
            bandwidth: 1 << 30,
        },
        jitters: Vec::new(),
        disks: Vec::new(),
        clients: Vec::new(),
        faults: Vec::new(),
        stormy_ms: 0,
        calm_ms: 0,
    };
    for word in words.iter().skip(1) {
        let (key, value) = word.split_once('=').ok_or(format!("{word} is not key=value"))?;
        match key {
            "observers" => plan.observers = number(Some(&value))? as usize,
            "groups" => plan.groups = (0..participants).map(|i| i % 3).collect(),
            "snapCount" => plan.settings.push(("snapCount", String::from(value))),
            "commitLogCount" => plan.settings.push(("commitLogCount", String::from(value))),
            "snapshotSizeFactor" => plan.settings.push(("snapshotSizeFactor", String::from(value))),
            _ => return Err(format!("{key} is not a setting of scripts")),
        }
    }
    if participants == 0 || plan.servers() > 7 {
        return Err(String::from("an ensemble has one to seven servers"));
    }
    plan.disks = vec![DiskSpeed { sync_us: 1000, other_us: 1 }; plan.servers()];
    Ok(World::new(plan).with_story())
}

fn number(word: Option<&&str>) -> Result<u64, String> {
    let word = word.ok_or("a number is missing")?;
    word.parse().map_err(|_| format!("{word} is not a number"))
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

fn request(words: &[&str]) -> Result<Request, String> {
    let (verb, rest) = words.split_first().ok_or("what shall the client ask?")?;
    if *verb == "multi" {
        return Ok(Request::Multi(rest.iter().map(|word| part(word)).collect::<Result<_, _>>()?));
    }
    let path = *rest.first().ok_or("a path is missing")?;
    let has = |word: &str| rest.contains(&word);
    let watched = || WatchedRequest { path: path.into(), watch: has("watch") };
    Ok(match *verb {
        "create" => {
            let flags = i32::from(has("ephemeral")) | (i32::from(has("sequential")) << 1);
            Request::Create(creation(path, flags))
        }
        "delete" => Request::Delete(DeleteRequest { path: path.into(), version: -1 }),
        "set" => Request::SetData(setting(path, rest.get(1).copied().unwrap_or_default())),
        "get" => Request::GetData(watched()),
        "exists" => Request::Exists(watched()),
        "children" => Request::GetChildren(watched()),
        "sync" => Request::Sync(PathRequest { path: path.into() }),
        _ => return Err(format!("{verb} is nothing a client can ask")),
    })
}

/// `create:/a`, `delete:/a`, `set:/a` or `check:/a`.
fn part(word: &str) -> Result<MultiOp, String> {
    let (verb, path) = word.split_once(':').ok_or(format!("{word} is not verb:path"))?;
    Ok(match verb {
        "create" => MultiOp::Create(creation(path, 0)),
        "delete" => MultiOp::Delete(DeleteRequest { path: path.into(), version: -1 }),
        "set" => MultiOp::SetData(setting(path, "multi")),
        "check" => MultiOp::Check(CheckRequest { path: path.into(), version: -1 }),
        _ => return Err(format!("{verb} is no part of a multi")),
    })
}

fn creation(path: &str, flags: i32) -> CreateRequest {
    let id = Id { scheme: "world".into(), id: "anyone".into() };
    let (data, acl) = (Some(Bytes::new()), vec![Acl { perms: 31, id }]);
    CreateRequest { path: path.into(), data, acl, flags }
}

fn setting(path: &str, text: &str) -> SetDataRequest {
    let data = Some(Bytes::from(String::from(text)));
    SetDataRequest { path: path.into(), data, version: -1 }
}
