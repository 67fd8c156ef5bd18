//! The report as a picture: how many times Apache ZooKeeper's rate, a bar for each row.

use std::fmt::Write;

use super::table::number;
use super::{Metric, Report, Row};
use crate::ensemble::Kind;

const LINE: usize = 30;
const TOP: usize = 58;
const LEFT: usize = 260;
const BARS: f64 = 400.0;
const WIDTH: usize = 890;

impl Report {
    /// An SVG picture that is legible on light and on dark pages. None: nothing can be compared.
    pub fn chart(&self) -> Option<String> {
        // Those rows whose rate is to reach something.
        let rate = |row: &&Row| row.goals.iter().any(|goal| goal.metric == Metric::PerSecond);
        let rows: Vec<_> = (self.rows.iter().filter(rate))
            .filter_map(|row| Some((row, self.ratio(&row.id, Kind::Smol, row.metric)?)))
            .collect();
        let most = rows.iter().map(|(_, ratio)| *ratio).fold(1.0, f64::max);
        if rows.is_empty() {
            return None;
        }
        let height = TOP + LINE * rows.len() + 12;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             width=\"{WIDTH}\" height=\"{height}\" role=\"img\" \
             font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
             <title>Operations a second, zabkeeper and Apache ZooKeeper 3.9.5</title>\n\
             <style>text{{fill:#1f2328}}.quiet{{fill:#59636e}}.bar{{fill:#0969da}}\
             .other{{fill:#afb8c1}}@media(prefers-color-scheme:dark){{text{{fill:#f0f6fc}}\
             .quiet{{fill:#9198a1}}.bar{{fill:#4493f8}}.other{{fill:#656c76}}}}</style>\n\
             <text x=\"12\" y=\"22\" font-size=\"15\" font-weight=\"600\">Operations a second: \
             how many times Apache ZooKeeper 3.9.5</text>\n\
             <text x=\"12\" y=\"42\" class=\"quiet\">three servers and the load on {} cores, \
             forceSync on; grey: ZooKeeper</text>\n",
            self.machine.cores
        );
        for (at, (row, ratio)) in rows.iter().enumerate() {
            let y = TOP + LINE * at;
            let length = |times: f64| (BARS * times / most).max(1.0);
            let value = |kind| self.median(&row.id, kind, row.metric).map_or("".into(), number);
            let _ = writeln!(
                out,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
                 <rect class=\"bar\" x=\"{LEFT}\" y=\"{}\" width=\"{:.1}\" height=\"12\"/>\
                 <rect class=\"other\" x=\"{LEFT}\" y=\"{}\" width=\"{:.1}\" height=\"6\"/>\
                 <text x=\"{:.1}\" y=\"{}\">{}×<tspan class=\"quiet\" dx=\"6\">{} to {}</tspan></text>",
                LEFT - 8,
                y + 15,
                escaped(&row.what),
                y + 2,
                length(*ratio),
                y + 15,
                length(1.0),
                LEFT as f64 + length(ratio.max(1.0)) + 8.0,
                y + 15,
                number(*ratio),
                value(Kind::Smol),
                value(Kind::Apache),
            );
        }
        out.push_str("</svg>\n");
        Some(out)
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
