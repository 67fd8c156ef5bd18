//! The rate limit of log lines that clients or peers can cause: a few lines of one kind are logged
//! per second, the others are counted, and the count is logged a second later.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// The number of lines of one kind that are logged in one window.
const LINES: u64 = 5;
/// The length of a window.
const WINDOW: Duration = Duration::from_secs(1);
/// Targets without a limit: clients and peers cannot cause their lines.
const EXEMPT: [&str; 2] = ["zabkeeper_core::disk", "zabkeeper_std::logging"];

/// Counts lines by their kind: their place in the code, and the field `what` if there is one. Only
/// lines of the levels `info` and `warn` are limited.
pub(super) struct RateLimiter {
    kinds: Mutex<BTreeMap<Kind, Window>>,
}

type Kind = u64;

struct Window {
    began: Instant,
    lines: u64,
    /// The level and text of the first suppressed line.
    suppressed: Option<(Level, String)>,
}

impl RateLimiter {
    pub(super) const fn new() -> RateLimiter {
        RateLimiter { kinds: Mutex::new(BTreeMap::new()) }
    }

    /// Logs the number of suppressed lines of the windows that have ended.
    pub(super) fn emit(&self) {
        for (level, more, text) in self.ended(Instant::now()) {
            if level == Level::WARN {
                tracing::warn!("{more} similar lines suppressed: {text}");
            } else {
                tracing::info!("{more} similar lines suppressed: {text}");
            }
        }
    }

    /// Removes the windows that have ended. Returns their suppressed lines.
    fn ended(&self, now: Instant) -> Vec<(Level, u64, String)> {
        let mut all = Vec::new();
        self.lock().retain(|_, window| {
            let has_ended = now.saturating_duration_since(window.began) >= WINDOW;
            if has_ended && let Some((level, text)) = window.suppressed.take() {
                all.push((level, window.lines - LINES, text));
            }
            !has_ended
        });
        all
    }

    /// Whether a line of this kind is logged now; counts it.
    fn admits(
        &self,
        now: Instant,
        kind: Kind,
        level: Level,
        text: impl FnOnce() -> String,
    ) -> bool {
        let mut kinds = self.lock();
        let fresh = Window { began: now, lines: 0, suppressed: None };
        let window = kinds.entry(kind).or_insert(fresh);
        window.lines += 1;
        if window.lines > LINES && window.suppressed.is_none() {
            window.suppressed = Some((level, text()));
        }
        window.lines <= LINES
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Kind, Window>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for &'static RateLimiter {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if !is_limited(metadata) {
            return true;
        }
        let mut hasher = DefaultHasher::new();
        metadata.callsite().hash(&mut hasher);
        event.record(&mut KindVisitor(&mut hasher));
        self.admits(Instant::now(), hasher.finish(), *metadata.level(), || {
            let mut text = TextVisitor(String::new());
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

/// Hashes the field `what`, which distinguishes the lines of one place.
struct KindVisitor<'a>(&'a mut DefaultHasher);

impl Visit for KindVisitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "what" {
            value.hash(self.0);
        }
    }
    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// Collects the message and the fields of a line.
struct TextVisitor(String);

impl Visit for TextVisitor {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let gap = if self.0.is_empty() { "" } else { " " };
        // Writing to a string cannot fail.
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
    fn flood_is_reduced_to_a_few_lines_and_a_count() {
        let limiter = RateLimiter::new();
        let begin = Instant::now();
        let logged =
            (0..91_000).filter(|_| limiter.admits(begin, 1, Level::INFO, text)).count() as u64;
        assert_eq!(logged, LINES);
        // Another kind is not limited by it.
        assert!(limiter.admits(begin, 2, Level::INFO, text));
        assert_eq!(limiter.ended(begin), []);
        let later = begin + WINDOW;
        assert_eq!(limiter.ended(later), [(Level::INFO, 91_000 - LINES, text())]);
        // The window is removed, and the next line is logged.
        assert!(limiter.lock().is_empty());
        assert!(limiter.admits(later, 1, Level::INFO, text));
        assert_eq!(limiter.ended(later + WINDOW), []);
    }

    #[test]
    fn kinds_differ_by_place_and_by_the_field_what() {
        use tracing_subscriber::layer::SubscriberExt;
        static LIMITER: RateLimiter = RateLimiter::new();
        static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());
        struct Keep;
        impl<S: Subscriber> Layer<S> for Keep {
            fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
                let mut text = TextVisitor(String::new());
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
        let suppressed = LIMITER.ended(Instant::now() + WINDOW * 2);
        let line = "connection closed conn=5 what=\"limit\"";
        assert!(
            suppressed.contains(&(Level::INFO, 20 - LINES, String::from(line))),
            "{suppressed:?}"
        );
    }
}
