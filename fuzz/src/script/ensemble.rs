//! The world of a script: how many servers, with which settings.

use super::number;
use crate::plan::{DiskSpeed, Plan, Reconfig, Standby, Weather};
use crate::world::World;

/// Keys of `zoo.cfg` that a script may set.
#[rustfmt::skip]
const SETTINGS: &[&str] = &[
    "tickTime", "initLimit", "syncLimit", "snapCount", "commitLogCount", "snapshotSizeFactor",
    "forceSnapshotSync", "maxSessionTimeout", "jute.maxbuffer", "znode.container.checkIntervalMs",
    "group.1", "group.2", "group.3",
    "weight.1", "weight.2", "weight.3", "weight.4", "weight.5", "weight.6", "weight.7",
];

/// `3 observers=1 groups=3 snapCount=4 group.1=1:2:3 weight.1=3`.
pub(super) fn ensemble(words: &[&str]) -> Result<World, String> {
    let participants = number(words.first())? as usize;
    let mut plan = Plan {
        seed: 1,
        participants,
        observers: 0,
        groups: Vec::new(),
        reconfig: None,
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
            "standbys" => {
                let standby = Standby { observes: false, starts_ms: 0 };
                let standbys = vec![standby; number(Some(&value))? as usize];
                let (standalone, least_voters, ambush_percent) = (true, 1, 0);
                plan.reconfig =
                    Some(Reconfig { standbys, standalone, least_voters, ambush_percent });
                // Whoever is told to may change the members.
                plan.settings.push(("skipACL", String::from("yes")));
            }
            "groups" => plan.groups = (0..participants).map(|i| i % 3).collect(),
            _ => {
                let key = SETTINGS.iter().find(|known| **known == key);
                let key = *key.ok_or(format!("{word} is not a setting of scripts"))?;
                plan.settings.retain(|(known, _)| *known != key);
                plan.settings.push((key, String::from(value)));
            }
        }
    }
    if participants == 0 || plan.servers() > 7 {
        return Err(String::from("an ensemble has one to seven servers"));
    }
    plan.disks = vec![DiskSpeed { sync_us: 1000, other_us: 1 }; plan.servers()];
    Ok(World::new(plan).with_story())
}
