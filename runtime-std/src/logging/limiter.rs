//! Lines that others can cause: of one kind only some are logged each second, the rest is counted,
//! and the count logged a second later.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// So many lines of one kind are logged in one window.
const LINES: u64 = 5;
/// How long they count.
const WINDOW: Duration = Duration::from_secs(1);
/// Nobody but this server's own operator causes what is logged there.
const EXEMPT: [&str; 2] = ["zabkeeper_core::disk", "zabkeeper_std::logging"];

/// Counts lines by their kind: the place in the code that logs them, and the field `what` if there
/// is one. Errors are never dropped, and nothing is if somebody asked for more than `info`.
pub(super) struct Limiter {
    kinds: Mutex<BTreeMap<Kind, Window>>,
}

type Kind = u64;

struct Window {
    began: Instant,
    lines: u64,
    /// The level, and the text of the first line that was not logged.
    held_back: Option<(Level, String)>,
}

impl Limiter {
    pub(super) const fn new() -> Limiter {
        Limiter { kinds: Mutex::new(BTreeMap::new()) }
    }

    /// Logs how many lines were held back in windows that are over.
    pub(super) fn emit(&self) {
        for (level, more, text) in self.over(Instant::now()) {
            if level == Level::WARN {
                tracing::warn!("{more} more lines like this one: {text}");
            } else {
                tracing::info!("{more} more lines like this one: {text}");
            }
        }
    }

    /// Takes the windows that are over, and what was held back in them.
    fn over(&self, now: Instant) -> Vec<(Level, u64, String)> {
        let mut all = Vec::new();
        self.lock().retain(|_, window| {
            let is_over = now.saturating_duration_since(window.began) >= WINDOW;
            if is_over && let Some((level, text)) = window.held_back.take() {
                all.push((level, window.lines - LINES, text));
            }
            !is_over
        });
        all
    }

    /// Whether a line of this kind is logged now.
    fn admits(
        &self,
        now: Instant,
        kind: Kind,
        level: Level,
        text: impl FnOnce() -> String,
    ) -> bool {
        let mut kinds = self.lock();
        let fresh = Window { began: now, lines: 0, held_back: None };
        let window = kinds.entry(kind).or_insert(fresh);
        window.lines += 1;
        if window.lines > LINES && window.held_back.is_none() {
            window.held_back = Some((level, text()));
        }
        window.lines <= LINES
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Kind, Window>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for &'static Limiter {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if !is_limited(metadata) {
            return true;
        }
        let mut hasher = DefaultHasher::new();
        metadata.callsite().hash(&mut hasher);
        event.record(&mut What(&mut hasher));
        self.admits(Instant::now(), hasher.finish(), *metadata.level(), || {
            let mut text = Text(String::new());
            event.record(&mut text);
            text.0
        })
    }
}

fn is_limited(metadata: &Metadata<'_>) -> bool {
    let level = *metadata.level();
    (level == Level::WARN || level == Level::INFO)
        && !EXEMPT.iter().any(|target| metadata.target().starts_with(target))
}

/// Takes notice of the field that tells lines of one place apart.
struct What<'a>(&'a mut DefaultHasher);

impl Visit for What<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "what" {
            value.hash(self.0);
        }
    }
    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// A line's message and fields.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let gap = if self.0.is_empty() { "" } else { " " };
        // Writing into a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{gap}{value:?}"),
            name => write!(self.0, "{gap}{name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> String {
        String::from("connection closed")
    }

    #[test]
    fn a_flood_is_some_lines_and_one_count_a_second() {
        let limiter = Limiter::new();
        let begin = Instant::now();
        let logged =
            (0..91_000).filter(|_| limiter.admits(begin, 1, Level::INFO, text)).count() as u64;
        assert_eq!(logged, LINES);
        // Another kind is not kept back by it.
        assert!(limiter.admits(begin, 2, Level::INFO, text));
        assert_eq!(limiter.over(begin), []);
        let later = begin + WINDOW;
        assert_eq!(limiter.over(later), [(Level::INFO, 91_000 - LINES, text())]);
        // Nothing more is known, and the next line is logged again.
        assert!(limiter.lock().is_empty());
        assert!(limiter.admits(later, 1, Level::INFO, text));
        assert_eq!(limiter.over(later + WINDOW), []);
    }

    #[test]
    fn kinds_are_told_apart_by_their_place_and_what_was_wrong() {
        use tracing_subscriber::layer::SubscriberExt;
        static LIMITER: Limiter = Limiter::new();
        static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());
        struct Keep;
        impl<S: Subscriber> Layer<S> for Keep {
            fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
                let mut text = Text(String::new());
                event.record(&mut text);
                LOGGED.lock().unwrap().push(text.0);
            }
        }
        let logs = tracing_subscriber::registry().with(Keep).with(&LIMITER);
        tracing::subscriber::with_default(logs, || {
            for conn in 0..20 {
                for what in ["limit", "silence"] {
                    tracing::info!(target: "driver", conn, what, "connection closed");
                }
                tracing::error!(target: "driver", "an error");
                tracing::debug!(target: "driver", "a detail");
                tracing::info!(target: "zabkeeper_core::disk::purge", "purge");
            }
        });
        let logged = LOGGED.lock().unwrap();
        let count = |part: &str| logged.iter().filter(|line| line.contains(part)).count() as u64;
        assert_eq!((count("limit"), count("silence")), (LINES, LINES));
        assert_eq!((count("an error"), count("a detail"), count("purge")), (20, 20, 20));
        let held_back = LIMITER.over(Instant::now() + WINDOW * 2);
        let line = "connection closed conn=5 what=\"limit\"";
        assert!(
            held_back.contains(&(Level::INFO, 20 - LINES, String::from(line))),
            "{held_back:?}"
        );
    }
}
