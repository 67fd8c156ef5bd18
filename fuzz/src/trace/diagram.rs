//! A run as a sequence diagram: a lifeline for every machine, coloured by what a server is; time
//! runs down.

use std::collections::BTreeMap;
use std::fmt::Write;

use zabkeeper_core::zab::Role;

use super::story::{Step, What, name};
use crate::world::Host;

const COLUMN: usize = 240;
const ROW: usize = 20;
const LEFT: usize = 70;
const TOP: usize = 70;
/// Half the width of a server's bar.
const BAR: usize = 5;
/// The width of a letter.
const LETTER: f64 = 6.6;
/// So many letters of a text are drawn.
const MOST_LETTERS: usize = 80;
/// The machines' names are repeated after so many rows.
const NAMES_EVERY: usize = 40;

/// What a bar shows, and how.
const BARS: [(&str, &str); 9] = [
    ("starting", "#c9c9c9"),
    ("looking", "#f0b429"),
    ("about to lead", "#aecbfa"),
    ("leading", "#2f6fde"),
    ("being synchronised", "#b5e2c3"),
    ("following", "#2f9e5b"),
    ("about to observe", "#ddccf5"),
    ("observing", "#8e5bd0"),
    ("alone", "#2f6fde"),
];

fn bar(role: Role) -> (&'static str, &'static str) {
    let bar = match role {
        Role::Recovering => 0,
        Role::Looking => 1,
        Role::Leading { established: false } => 2,
        Role::Leading { established: true } => 3,
        Role::Following { active: false, observing: false } => 4,
        Role::Following { active: true, observing: false } => 5,
        Role::Following { active: false, observing: true } => 6,
        Role::Following { active: true, observing: true } => 7,
        Role::Standalone => 8,
    };
    BARS[bar]
}

/// A diagram of the steps from this one on; those before say only what everybody is by then.
pub fn svg(all: &[Step], from: usize) -> String {
    let (before, steps) = all.split_at(from.min(all.len()));
    let mut roles: BTreeMap<Host, Option<Role>> = BTreeMap::new();
    for step in before {
        if let What::Turns { host, role, .. } = &step.what {
            roles.insert(*host, *role);
        }
    }
    let mut hosts: Vec<Host> = steps.iter().flat_map(|step| involved(&step.what)).collect();
    hosts.extend(roles.iter().filter(|(_, role)| role.is_some()).map(|(host, _)| *host));
    hosts.sort();
    hosts.dedup();
    let mut drawing = Drawing { hosts, out: String::new() };
    drawing.begin(steps.len());
    let end = place(steps.len());
    drawing.lifelines(steps, roles, end);
    for (i, step) in steps.iter().enumerate() {
        if i % NAMES_EVERY == 0 {
            drawing.names(place(i) - ROW);
        }
        drawing.step(step, place(i));
    }
    drawing.out + "</svg>\n"
}

/// How far down a step is. Before the first of every so many is a row for the names.
fn place(step: usize) -> usize {
    TOP + ROW * (step + step / NAMES_EVERY + 1)
}

struct Drawing {
    hosts: Vec<Host>,
    out: String,
}

impl Drawing {
    fn column(&self, host: Host) -> usize {
        let at = self.hosts.iter().position(|known| *known == host).unwrap_or(0);
        LEFT + COLUMN / 2 + COLUMN * at
    }

    fn begin(&mut self, steps: usize) {
        let width = LEFT + COLUMN * self.hosts.len().max(4);
        let _ = writeln!(
            self.out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{}\" \
             font-family=\"monospace\" font-size=\"11\">\n\
             <defs><marker id=\"head\" markerWidth=\"8\" markerHeight=\"6\" refX=\"8\" refY=\"3\" \
             orient=\"auto\"><path d=\"M0,0 L8,3 L0,6 z\"/></marker></defs>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>",
            place(steps) + ROW
        );
        let mut x = LEFT as f64;
        // All but the last: a server that is alone is drawn as one that leads.
        for (text, colour) in BARS.iter().take(BARS.len() - 1) {
            let _ = writeln!(
                self.out,
                "<rect x=\"{x:.0}\" y=\"10\" width=\"10\" height=\"10\" fill=\"{colour}\"/>\
                 <text x=\"{:.0}\" y=\"19\">{text}</text>",
                x + 14.0
            );
            x += 34.0 + LETTER * text.len() as f64;
        }
        // The process is not there.
        let _ = writeln!(
            self.out,
            "<line x1=\"{x:.0}\" y1=\"10\" x2=\"{x:.0}\" y2=\"20\" stroke=\"#999\" \
             stroke-dasharray=\"3 3\"/><text x=\"{:.0}\" y=\"19\">down</text>",
            x + 8.0
        );
    }

    fn names(&mut self, y: usize) {
        for host in &self.hosts {
            let _ = writeln!(
                self.out,
                "<text x=\"{}\" y=\"{y}\" text-anchor=\"middle\" font-size=\"13\" \
                 font-weight=\"bold\" stroke=\"white\" stroke-width=\"4\">{1}</text>\
                 <text x=\"{0}\" y=\"{y}\" text-anchor=\"middle\" font-size=\"13\" \
                 font-weight=\"bold\">{1}</text>",
                self.column(*host),
                match host {
                    Host::Server(_) => format!("server {}", name(*host)),
                    Host::Client(_) | Host::Stranger(_) => name(*host),
                }
            );
        }
    }

    /// Lines, and on those of servers bars: what each is, from when until when.
    fn lifelines(&mut self, steps: &[Step], roles: BTreeMap<Host, Option<Role>>, end: usize) {
        for host in self.hosts.clone() {
            let x = self.column(host);
            let dashes = match host {
                Host::Server(_) => " stroke-dasharray=\"3 3\"",
                Host::Client(_) | Host::Stranger(_) => "",
            };
            let _ = writeln!(
                self.out,
                "<line x1=\"{x}\" y1=\"{TOP}\" x2=\"{x}\" y2=\"{end}\" stroke=\"#999\"{dashes}/>"
            );
        }
        let mut since: BTreeMap<Host, (usize, Option<Role>)> =
            roles.into_iter().map(|(host, role)| (host, (TOP, role))).collect();
        for (i, step) in steps.iter().enumerate() {
            if let What::Turns { host, role, .. } = &step.what {
                let y = place(i);
                if let Some((from, before)) = since.insert(*host, (y, *role)) {
                    self.bar(*host, before, from, y);
                }
            }
        }
        for (host, (from, role)) in since {
            self.bar(host, role, from, end);
        }
    }

    fn bar(&mut self, host: Host, role: Option<Role>, from: usize, to: usize) {
        let Some((_, colour)) = role.map(bar) else { return };
        let _ = writeln!(
            self.out,
            "<rect x=\"{}\" y=\"{from}\" width=\"{}\" height=\"{}\" fill=\"{colour}\"/>",
            self.column(host) - BAR,
            2 * BAR,
            to - from
        );
    }

    fn step(&mut self, step: &Step, y: usize) {
        let ms = step.at.as_millis();
        let _ = write!(
            self.out,
            "<text x=\"4\" y=\"{y}\" fill=\"#666\">{}.{:03}</text>",
            ms / 1000,
            ms % 1000
        );
        match &step.what {
            What::Sent { from, to, text } => {
                let (a, b) = (self.edge(*from, *to), self.edge(*to, *from));
                let text = short(text);
                let left = (a + b) as f64 / 2.0 - wide(&text) / 2.0;
                self.label(left.max(LEFT as f64), y - 4, &text, "");
                let _ = writeln!(
                    self.out,
                    "<line x1=\"{a}\" y1=\"{y}\" x2=\"{b}\" y2=\"{y}\" stroke=\"black\" \
                     marker-end=\"url(#head)\"/>",
                );
            }
            What::At(host, text) => {
                let x = self.column(*host);
                let _ = write!(self.out, "<circle cx=\"{x}\" cy=\"{y}\" r=\"4\" fill=\"#c33\"/>");
                self.label((x + 2 * BAR) as f64, y + 4, &short(text), " fill=\"#900\"");
            }
            What::Turns { host, role, text } => {
                let (x, at) = (self.column(*host), text.rsplit_once(" at "));
                let text = match (role, at) {
                    (Some(role), Some((_, zxid))) => format!("{}, at {zxid}", bar(*role).0),
                    _ => short(text),
                };
                let is_end = role.is_none();
                if is_end {
                    let _ = write!(
                        self.out,
                        "<path d=\"M{0},{2} L{1},{3} M{1},{2} L{0},{3}\" stroke=\"#c33\" \
                         stroke-width=\"2\"/>",
                        x - BAR,
                        x + BAR,
                        y - BAR,
                        y + BAR
                    );
                }
                let colour = if is_end { "#900" } else { "#333" };
                let style = format!(" font-weight=\"bold\" fill=\"{colour}\"");
                self.label((x + 2 * BAR) as f64, y + 4, &text, &style);
            }
            What::Note(text) => {
                self.label(LEFT as f64, y, &short(text), " fill=\"#036\" font-style=\"italic\"");
            }
        }
    }

    /// Where an arrow between two machines begins or ends at the first one.
    fn edge(&self, at: Host, other: Host) -> usize {
        let (x, is_server) = (self.column(at), matches!(at, Host::Server(_)));
        match is_server {
            true if self.column(other) > x => x + BAR,
            true => x - BAR,
            false => x,
        }
    }

    /// Text that can be read on top of lines.
    fn label(&mut self, left: f64, y: usize, text: &str, style: &str) {
        let _ = writeln!(
            self.out,
            "<rect x=\"{left:.0}\" y=\"{}\" width=\"{:.0}\" height=\"12\" fill=\"white\" \
             fill-opacity=\"0.8\"/><text x=\"{left:.0}\" y=\"{y}\"{style}>{}</text>",
            y.saturating_sub(9),
            wide(text),
            escaped(text)
        );
    }
}

fn involved(what: &What) -> Vec<Host> {
    match what {
        What::Sent { from, to, .. } => vec![*from, *to],
        What::At(host, _) | What::Turns { host, .. } => vec![*host],
        What::Note(_) => Vec::new(),
    }
}

fn wide(text: &str) -> f64 {
    LETTER * text.chars().count() as f64
}

fn short(text: &str) -> String {
    text.chars().take(MOST_LETTERS).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use zabkeeper_core::types::Time;

    use super::*;

    fn turns(ms: u64, server: usize, role: Option<Role>) -> Step {
        let text = match role {
            Some(role) => format!("is {role:?} at 0x5"),
            None => String::from("is killed"),
        };
        let what = What::Turns { host: Host::Server(server), role, text };
        Step { at: Time(1_000_000 * ms), what }
    }

    #[test]
    fn a_bar_shows_what_a_server_is() {
        let steps = [
            turns(1, 0, Some(Role::Looking)),
            turns(2, 0, Some(Role::Leading { established: true })),
            turns(3, 1, Some(Role::Following { active: true, observing: false })),
            turns(4, 0, None),
        ];
        let drawn = svg(&steps, 0);
        // One in the legend, and a bar.
        assert_eq!(drawn.matches("#f0b429").count(), 2);
        assert_eq!(drawn.matches("#2f6fde").count(), 2);
        let bar = format!("height=\"{}\" fill=\"#2f6fde\"", 2 * ROW);
        assert!(drawn.contains(&bar), "{bar} in {drawn}");
        assert!(drawn.contains("leading, at 0x5") && drawn.contains("is killed"));
        // What was before is known, and not told.
        let rest = svg(&steps, 3);
        assert_eq!(rest.matches("#f0b429").count(), 1);
        assert_eq!(rest.matches("#2f9e5b").count(), 2);
        assert!(rest.contains("server 2") && !rest.contains("leading, at"));
    }

    #[test]
    fn text_cannot_break_the_drawing() {
        let what = What::Note(String::from("a < b & c"));
        let drawn = svg(&[Step { at: Time(0), what }], 0);
        assert!(drawn.starts_with("<svg") && drawn.ends_with("</svg>\n"));
        assert!(drawn.contains("a &lt; b &amp; c"));
        assert!(svg(&[], 7).ends_with("</svg>\n"));
    }
}
