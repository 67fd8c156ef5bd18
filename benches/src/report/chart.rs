//! The report as a picture: how many times better than Apache ZooKeeper, a bar for each goal that
//! is a ratio to it, on a logarithmic scale.

use std::fmt::Write;

use super::table::number;
use super::{Bound, Goal, Metric, Report, Row};
use crate::ensemble::Kind;

const WIDTH: f64 = 920.0;
const MARGIN: f64 = 24.0;
/// Where bars begin, and how far the longest may reach: beside them are the values.
const LEFT: f64 = 304.0;
const RIGHT: f64 = 676.0;
const TOP: f64 = 92.0;
const LINE: f64 = 26.0;
const BAR: f64 = 14.0;
/// Above the first bar of a section.
const HEADING: f64 = 34.0;
/// What the axis may show.
const TICKS: [f64; 12] = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];

/// Its own ground, so that it is legible on pages of any colour.
const STYLE: &str = "\
.ground{fill:#fff;stroke:#d1d9e0}text{fill:#1f2328}.quiet{fill:#59636e}.grid{stroke:#d1d9e0}\
.one{stroke:#818b98}.goal{stroke:#1f2328}.rate{fill:#0969da}.time{fill:#1a7f37}.size{fill:#8250df}\
@media(prefers-color-scheme:dark){.ground{fill:#0d1117;stroke:#3d444d}text{fill:#f0f6fc}\
.quiet{fill:#9198a1}.grid{stroke:#2a313c}.one{stroke:#656c76}.goal{stroke:#f0f6fc}\
.rate{fill:#4493f8}.time{fill:#3fb950}.size{fill:#ab7df8}}";

/// What bars have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Rate,
    Time,
    Size,
}

impl Section {
    fn of(metric: Metric) -> Option<Section> {
        match metric {
            Metric::PerSecond => Some(Section::Rate),
            Metric::P50Ms | Metric::P99Ms | Metric::P999Ms | Metric::Ms => Some(Section::Time),
            Metric::CpuSeconds | Metric::RssMib | Metric::PeakMib => Some(Section::Size),
            Metric::LoadPercent
            | Metric::Failed
            | Metric::BytesPerZnode
            | Metric::AddedP99Ms
            | Metric::CommitNs
            | Metric::CommitAllocations => None,
        }
    }

    /// Its heading, and the name of its style.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Section::Rate => ("more a second", "rate"),
            Section::Time => ("less time", "time"),
            Section::Size => ("less CPU time and memory", "size"),
        }
    }
}

struct Bar {
    label: String,
    /// How many times.
    better: f64,
    goal: Option<f64>,
    /// What was measured, ours and theirs.
    values: String,
}

impl Bar {
    /// None: there is nothing to compare, or it is no goal that is to be seen.
    fn new(report: &Report, row: &Row, goal: &Goal) -> Option<Bar> {
        let ratio = report.ratio(&row.id, report.subject(), goal.metric)?;
        let value = |kind| report.median(&row.id, kind, goal.metric);
        let (own, other) = (value(report.subject())?, value(Kind::Apache)?);
        let more = Section::of(goal.metric)? == Section::Rate;
        let better = if more { ratio } else { 1.0 / ratio };
        Some(Bar {
            label: label(row, goal.metric),
            better: Some(better).filter(|better| better.is_finite() && *better > 0.0)?,
            goal: match goal.bound {
                Bound::AtLeastTimes(times) => Some(times),
                Bound::AtMostTimes(part) => Some(1.0 / part),
                Bound::AtMost(_)
                | Bound::AtMostSyncAnd(_)
                | Bound::Flat(..)
                | Bound::Linear(..) => None,
            },
            values: format!("{} against {}", plain(own, goal.metric), unit(other, goal.metric)),
        })
    }
}

/// What is done, and which of its metrics this is.
fn label(row: &Row, metric: Metric) -> String {
    let what = row.what.trim_end_matches(", 128 B");
    match metric {
        Metric::P50Ms => format!("{what}, p50"),
        Metric::P99Ms => format!("{what}, p99"),
        Metric::P999Ms => format!("{what}, p99.9"),
        Metric::CpuSeconds => format!("{what}, CPU of the servers"),
        Metric::RssMib | Metric::PeakMib => format!("{what}, RSS"),
        _ => what.to_owned(),
    }
}

/// As it is told in the picture: CPU time is that of one operation, µs.
fn plain(value: f64, metric: Metric) -> String {
    number(if metric == Metric::CpuSeconds { value * 10.0 } else { value })
}

fn unit(value: f64, metric: Metric) -> String {
    let unit = match metric {
        Metric::PerSecond => "/s",
        Metric::CpuSeconds => " µs",
        Metric::RssMib | Metric::PeakMib => " MiB",
        _ => " ms",
    };
    format!("{}{unit}", plain(value, metric))
}

/// Where a ratio is.
struct Scale {
    least: f64,
    most: f64,
}

impl Scale {
    /// From and to a tick, so that everything is between.
    fn new(bars: &[(Section, Bar)]) -> Scale {
        let all =
            || bars.iter().flat_map(|(_, bar)| [Some(bar.better), bar.goal, Some(1.0)]).flatten();
        let (least, most) = (all().fold(1.0, f64::min), all().fold(2.0, f64::max));
        let below = TICKS.into_iter().rev().find(|tick| *tick <= least);
        let above = TICKS.into_iter().find(|tick| *tick >= most);
        Scale { least: below.unwrap_or(least), most: above.unwrap_or(most) }
    }

    fn x(&self, ratio: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * (ratio / self.least).ln() / (self.most / self.least).ln()
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        TICKS.into_iter().filter(|tick| (self.least..=self.most).contains(tick))
    }
}

impl Report {
    /// An SVG picture that is legible on light and on dark pages. None: nothing can be compared.
    pub fn chart(&self) -> Option<String> {
        let goals = self.rows.iter().flat_map(|row| row.goals.iter().map(move |goal| (row, goal)));
        let bars = goals.filter(|(_, goal)| !goal.stretch).filter_map(|(row, goal)| {
            Some((Section::of(goal.metric)?, Bar::new(self, row, goal)?))
        });
        let bars: Vec<(Section, Bar)> = bars.collect();
        if bars.is_empty() {
            return None;
        }
        let scale = Scale::new(&bars);
        let (mut body, mut y) = (String::new(), TOP);
        for section in [Section::Rate, Section::Time, Section::Size] {
            let (heading, style) = section.names();
            let mut of_section = bars.iter().filter(|(of, _)| *of == section).peekable();
            if of_section.peek().is_some() {
                y += HEADING;
                let baseline = y - 9.0;
                let _ = writeln!(
                    body,
                    "<text x=\"{MARGIN}\" y=\"{baseline}\" font-weight=\"600\">{heading}</text>"
                );
            }
            for (_, bar) in of_section {
                draw(&mut body, bar, style, y, &scale);
                y += LINE;
            }
        }
        let axis = axis(&scale, y);
        let height = y + 40.0;
        let words = format!(
            "How many times better, on a logarithmic scale; the servers and their load share {} \
             cores",
            self.machine.cores
        );
        let settings = escaped(&self.settings);
        Some(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             width=\"{WIDTH}\" height=\"{height}\" role=\"img\" \
             font-family=\"system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif\" \
             font-size=\"13\">\n<title>{words}</title>\n<style>{STYLE}</style>\n\
             <rect class=\"ground\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\"/>\n\
             <text x=\"{MARGIN}\" y=\"34\" font-size=\"18\" font-weight=\"600\">{} beside Apache \
             ZooKeeper 3.9.5</text>\n\
             <text x=\"{MARGIN}\" y=\"56\" class=\"quiet\">{words}</text>\n\
             <text x=\"{MARGIN}\" y=\"74\" class=\"quiet\">{settings}</text>\n{axis}{body}</svg>\n",
            WIDTH - 1.0,
            height - 1.0,
            self.subject(),
        ))
    }
}

fn draw(out: &mut String, bar: &Bar, style: &str, y: f64, scale: &Scale) {
    let (one, end) = (scale.x(1.0), scale.x(bar.better));
    let (from, length) = (one.min(end), (end - one).abs().max(1.0));
    let text = y + BAR - 2.5;
    let _ = write!(
        out,
        "<text x=\"{:.1}\" y=\"{text}\" text-anchor=\"end\">{}</text>\
         <rect class=\"{style}\" x=\"{from:.1}\" y=\"{y}\" width=\"{length:.1}\" \
         height=\"{BAR}\" rx=\"2\"/>",
        LEFT - 12.0,
        escaped(&bar.label),
    );
    // A goal that is not reached is beyond the bar, where its number would be.
    let mut number_at = one.max(end) + 8.0;
    if let Some(goal) = bar.goal {
        let x = scale.x(goal);
        if (number_at - 8.0..number_at + 40.0).contains(&x) {
            number_at = x + 8.0;
        }
        let (above, below) = (y - 3.0, y + BAR + 3.0);
        let _ = write!(
            out,
            "<line class=\"goal\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{above}\" y2=\"{below}\" \
             stroke-width=\"2\"/>"
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{number_at:.1}\" y=\"{text}\" font-weight=\"600\">{}×</text>\
         <text x=\"{:.1}\" y=\"{text}\" text-anchor=\"end\" class=\"quiet\">{}</text>",
        number(bar.better),
        WIDTH - MARGIN,
        escaped(&bar.values),
    );
}

/// Lines from the first bar to the last one, and what they stand for; what the marks are.
fn axis(scale: &Scale, bottom: f64) -> String {
    let mut out = String::new();
    for tick in scale.ticks() {
        let (x, style) = (scale.x(tick), if tick == 1.0 { "one" } else { "grid" });
        let (above, below) = (TOP + 12.0, bottom + 2.0);
        let _ = writeln!(
            out,
            "<line class=\"{style}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{above}\" y2=\"{below}\"/>\
             <text class=\"quiet\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\" font-size=\"12\">\
             {tick}×</text>",
            bottom + 20.0
        );
    }
    let (x, y) = (WIDTH - MARGIN - 36.0, bottom + 16.0);
    let _ = writeln!(
        out,
        "<line class=\"goal\" x1=\"{x}\" x2=\"{x}\" y1=\"{}\" y2=\"{}\" stroke-width=\"2\"/>\
         <text class=\"quiet\" x=\"{}\" y=\"{}\" font-size=\"12\">goal</text>",
        y - 10.0,
        y + 6.0,
        x + 8.0,
        y + 4.0
    );
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
