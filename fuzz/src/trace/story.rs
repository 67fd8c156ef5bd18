//! A run as a story: as text, a line a step, and as a sequence diagram.

use std::fmt::Write;

use zabkeeper_core::types::Time;

use crate::world::Host;

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// When, in the world's own time.
    pub at: Time,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
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
        What::At(Host::Server(n), text) => format!("server {} {text}", n + 1),
        What::At(host, text) => format!("{} {text}", name(*host)),
        What::Note(text) => text.clone(),
    }
}

/// A step as a line: seconds, then what happened.
pub fn line(step: &Step) -> String {
    let (ms, us) = (step.at.as_millis(), step.at.0 / 1000 % 1000);
    format!("{:>5}.{:03}{us:03}  {}", ms / 1000, ms % 1000, text(&step.what))
}

const COLUMN: usize = 210;
const ROW: usize = 20;
const LEFT: usize = 170;
const TOP: usize = 40;

/// A sequence diagram of these steps: a lifeline for every machine, time runs down.
pub fn svg(steps: &[Step]) -> String {
    let mut hosts: Vec<Host> = steps.iter().flat_map(|step| involved(&step.what)).collect();
    hosts.sort();
    hosts.dedup();
    let (width, height) = (LEFT + COLUMN * hosts.len().max(1), TOP + ROW * (steps.len() + 2));
    let column = |host: Host| {
        LEFT + COLUMN / 2 + COLUMN * hosts.iter().position(|known| *known == host).unwrap_or(0)
    };
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"monospace\" font-size=\"11\">\n\
         <defs><marker id=\"head\" markerWidth=\"8\" markerHeight=\"6\" refX=\"8\" refY=\"3\" \
         orient=\"auto\"><path d=\"M0,0 L8,3 L0,6 z\"/></marker></defs>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
    );
    for host in &hosts {
        let x = column(*host);
        let _ = writeln!(
            out,
            "<line x1=\"{x}\" y1=\"{TOP}\" x2=\"{x}\" y2=\"{height}\" stroke=\"#999\"/>\
             <text x=\"{x}\" y=\"20\" text-anchor=\"middle\" font-weight=\"bold\">{}</text>",
            name(*host)
        );
    }
    for (i, step) in steps.iter().enumerate() {
        let y = TOP + ROW * (i + 1);
        let ms = step.at.as_millis();
        let _ = write!(
            out,
            "<text x=\"4\" y=\"{y}\" fill=\"#666\">{}.{:03}</text>",
            ms / 1000,
            ms % 1000
        );
        match &step.what {
            What::Sent { from, to, text } => {
                let (a, b) = (column(*from), column(*to));
                let _ = writeln!(
                    out,
                    "<line x1=\"{a}\" y1=\"{y}\" x2=\"{b}\" y2=\"{y}\" stroke=\"black\" \
                     marker-end=\"url(#head)\"/><text x=\"{}\" y=\"{}\" text-anchor=\"middle\">\
                     {}</text>",
                    (a + b) / 2,
                    y - 3,
                    escaped(text)
                );
            }
            What::At(host, text) => {
                let x = column(*host);
                let _ = writeln!(
                    out,
                    "<circle cx=\"{x}\" cy=\"{y}\" r=\"4\" fill=\"#c33\"/><text x=\"{}\" y=\"{}\" \
                     fill=\"#900\">{}</text>",
                    x + 8,
                    y + 4,
                    escaped(text)
                );
            }
            What::Note(text) => {
                let _ = writeln!(
                    out,
                    "<text x=\"70\" y=\"{y}\" fill=\"#036\" font-style=\"italic\">{}</text>",
                    escaped(text)
                );
            }
        }
    }
    out + "</svg>\n"
}

fn involved(what: &What) -> Vec<Host> {
    match what {
        What::Sent { from, to, .. } => vec![*from, *to],
        What::At(host, _) => vec![*host],
        What::Note(_) => Vec::new(),
    }
}

fn escaped(text: &str) -> String {
    let short: String = text.chars().take(120).collect();
    short.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_told_in_lines_and_drawn() {
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
        let drawn = svg(&steps);
        assert!(drawn.starts_with("<svg") && drawn.ends_with("</svg>\n"));
        assert!(drawn.contains("a &lt; b") && drawn.contains("ACK 0x1"));
        assert_eq!(drawn, svg(&steps));
    }
}
