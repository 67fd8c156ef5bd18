//! How far it is: a bar where one can be drawn, lines elsewhere.

use indicatif::{ProgressBar, ProgressStyle};

pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new(steps: usize) -> Bar {
        let bar = ProgressBar::new(steps as u64);
        let style = "{bar:30} {pos}/{len} rows {elapsed_precise} left {eta} {msg}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Bar(bar)
    }

    /// What is done now.
    pub(super) fn says(&self, what: String) {
        if self.0.is_hidden() {
            let (at, of) = (self.0.position(), self.0.length().unwrap_or(0));
            eprintln!("{:4} s {at}/{of} {what}", self.0.elapsed().as_secs());
        }
        self.0.set_message(what);
        self.0.tick();
    }

    pub(super) fn steps(&self, steps: usize) {
        self.0.inc(steps as u64);
    }

    /// A line that stays.
    pub(super) fn tell(&self, line: &str) {
        self.0.suspend(|| eprintln!("{line}"));
    }

    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
