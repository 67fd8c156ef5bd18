//! What was said there, beside what is said here.

use std::collections::{BTreeMap, BTreeSet};

use super::words::{Kind, Word};

/// What one server said on one connection.
#[derive(Clone, Default, Debug)]
pub(super) struct Said {
    /// By the server that was heard.
    pub(super) there: Vec<Word>,
    /// By the node in its place.
    pub(super) here: Vec<Word>,
    /// When something was last heard on it, by either side.
    pub(super) last_ms: u64,
    /// There was another connection with the same server, which served here.
    pub(super) is_spare: bool,
    /// The other side has no vote: while there is no leader, ZooKeeper answers it with the vote
    /// of the last election, which leads it astray.
    pub(super) is_to_observer: bool,
}

/// What is said so short before the end was not said there, or not heard any more.
const AT_THE_END_MS: u64 = 150;

impl Said {
    /// Whether as much is said here as there, of every kind.
    pub(super) fn is_level(&self) -> bool {
        let here = self.lanes(&self.here);
        self.lanes(&self.there)
            .iter()
            .all(|(kind, words)| here.get(kind).is_some_and(|here| here.len() >= words.len()))
    }

    /// 3.8 acknowledges once more, one by one, what its synchronisation brought; later versions do
    /// not, because it is durable before they acknowledge NEWLEADER.
    pub(super) fn leave_out_late_acks(&mut self, synced: &BTreeSet<i64>) {
        let is_late = |word: &Word| {
            word.kind == Kind::ACK && word.zxid().is_some_and(|zxid| synced.contains(&zxid))
        };
        self.there.retain(|word| !is_late(word));
    }

    /// How many words of this server agree, and where they do not.
    pub(super) fn compare(&self, server: i64) -> (usize, Vec<String>) {
        if self.is_spare {
            return (0, Vec::new());
        }
        let (mut there, mut here) = (self.lanes(&self.there), self.lanes(&self.here));
        let first = |lanes: &BTreeMap<Kind, Vec<&Word>>| {
            lanes.get(&Kind::Notification).and_then(|lane| lane.first()).map(|word| (*word).clone())
        };
        if first(&there) != first(&here) {
            for lane in [&mut there, &mut here] {
                // Who hears before it speaks does not speak for itself first.
                if let Some(lane) = lane.get_mut(&Kind::Notification)
                    && lane.len() > 1
                    && lane[0].candidate == Some(server)
                {
                    lane.remove(0);
                }
            }
        }
        let kinds: BTreeSet<Kind> = there.keys().chain(here.keys()).copied().collect();
        let (mut same, mut differences) = (0, Vec::new());
        for kind in kinds {
            let none = Vec::new();
            let there = there.get(&kind).unwrap_or(&none);
            let here = here.get(&kind).unwrap_or(&none);
            let agree = there.iter().zip(here.iter()).take_while(|(a, b)| a == b).count();
            same += agree;
            if agree < there.len() {
                differences.push(format!(
                    "{kind:?} {agree} of {}: there {}, here {}",
                    there.len(),
                    shown(there.get(agree)),
                    shown(here.get(agree)),
                ));
            } else if here.get(agree).is_some_and(|w| w.at_ms + AT_THE_END_MS < self.last_ms) {
                differences.push(format!(
                    "{kind:?}: {} more here, the first {}",
                    here.len() - agree,
                    shown(here.get(agree))
                ));
            }
        }
        (same, differences)
    }

    /// The words of each kind in their order; what is repeated word for word counts once.
    fn lanes<'a>(&self, words: &'a [Word]) -> BTreeMap<Kind, Vec<&'a Word>> {
        let mut lanes: BTreeMap<Kind, Vec<&Word>> = BTreeMap::new();
        for word in words.iter().filter(|word| word.kind != Kind::PING) {
            if self.is_to_observer && word.candidate.is_some() {
                continue;
            }
            let lane = lanes.entry(word.kind).or_default();
            if word.kind != Kind::Notification || lane.last() != Some(&word) {
                lane.push(word);
            }
        }
        lanes
    }
}

fn shown(word: Option<&&Word>) -> String {
    word.map_or(String::from("nothing"), |word| {
        let hex: String = word.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{} {hex}", word.text)
    })
}
