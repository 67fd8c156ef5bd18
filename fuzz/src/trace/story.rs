//! A run as a story: a line a step.

use zabkeeper_core::types::Time;
use zabkeeper_core::zab::Role;

use crate::world::Host;

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Step {
    /// When, in the world's own time.
    pub at: Time,
    pub what: What,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum What {
    /// A message was sent.
    Sent {
        /// By whom.
        from: Host,
        /// To whom.
        to: Host,
        /// What it says.
        text: String,
    },
    /// Something happened to one machine.
    At(Host, String),
    /// A server is something else from now on.
    Turns {
        host: Host,
        /// What; none: its process is gone.
        role: Option<Role>,
        /// In words.
        text: String,
    },
    /// Something happened to all, or to nobody.
    Note(String),
}

/// A machine's name in a story.
pub fn name(host: Host) -> String {
    match host {
        Host::Server(n) => (n + 1).to_string(),
        Host::Client(n) => format!("client {n}"),
        Host::Stranger(n) => format!("stranger {n}"),
    }
}

/// What happened, without the time.
pub fn text(what: &What) -> String {
    match what {
        What::Sent { from, to, text } => format!("{} → {}  {text}", name(*from), name(*to)),
        What::At(Host::Server(n), text) | What::Turns { host: Host::Server(n), text, .. } => {
            format!("server {} {text}", n + 1)
        }
        What::At(host, text) | What::Turns { host, text, .. } => {
            format!("{} {text}", name(*host))
        }
        What::Note(text) => text.clone(),
    }
}

/// A step as a line: seconds, then what happened.
pub fn line(step: &Step) -> String {
    let (ms, us) = (step.at.as_millis(), step.at.0 / 1000 % 1000);
    format!("{:>5}.{:03}{us:03}  {}", ms / 1000, ms % 1000, text(&step.what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_told_in_lines() {
        let (one, two) = (Host::Server(0), Host::Server(1));
        let steps = [
            Step { at: Time(1_500_000), what: What::Note(String::from("a < b")) },
            Step {
                at: Time(2_000_000_000),
                what: What::Sent { from: one, to: two, text: String::from("ACK 0x1") },
            },
            Step { at: Time(2_000_001_000), what: What::At(two, String::from("leads")) },
        ];
        let lines: Vec<String> = steps.iter().map(line).collect();
        assert_eq!(
            lines,
            ["    0.001500  a < b", "    2.000000  1 → 2  ACK 0x1", "    2.000001  server 2 leads"]
        );
    }
}
