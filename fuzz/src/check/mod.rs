//! What must hold in every run.

pub mod disk;
pub mod history;
pub mod members;
pub mod model;
mod predict;
pub mod wire;
pub mod zab;

use std::fmt;

/// How bad it is; the exit status of `sim` says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Something happened that never may.
    Safety,
    /// Something that must happen in the end did not.
    Liveness,
    /// A panic, or a server that stopped for no reason.
    Crash,
}

/// A rule that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// How bad it is.
    pub kind: Kind,
    /// The rule, in a few words that stay the same.
    pub rule: &'static str,
    /// What was seen: who, which zxid, what instead.
    pub what: String,
}

impl Violation {
    /// A broken safety rule.
    pub fn safety(rule: &'static str, what: impl Into<String>) -> Violation {
        Violation { kind: Kind::Safety, rule, what: what.into() }
    }
    /// A broken promise of progress.
    pub fn liveness(rule: &'static str, what: impl Into<String>) -> Violation {
        Violation { kind: Kind::Liveness, rule, what: what.into() }
    }
    /// A process that ended for no reason.
    pub fn crash(rule: &'static str, what: impl Into<String>) -> Violation {
        Violation { kind: Kind::Crash, rule, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Safety => "safety",
            Kind::Liveness => "liveness",
            Kind::Crash => "crash",
        };
        write!(f, "{kind}: {}: {}", self.rule, self.what)
    }
}
