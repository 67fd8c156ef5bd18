//! Which four-letter words may be used (`4lw.commands.whitelist`).

use alloc::vec::Vec;

use crate::text;
use crate::wire::Word;

/// The enabled words. `srvr` always is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Whitelist(Vec<Word>);

impl Whitelist {
    /// Reads the setting: names with commas between them, or `*` for all. Without it only
    /// `srvr` is enabled, and `isro` with read-only mode. Names of no word are passed over.
    pub fn parse(setting: Option<&str>, read_only_mode: bool) -> Whitelist {
        let mut enabled = alloc::vec![Word::Srvr];
        if read_only_mode {
            enabled.push(Word::Isro);
        }
        for name in text::list(setting.unwrap_or_default()) {
            if name == "*" {
                enabled.extend_from_slice(Word::ALL);
                break;
            }
            enabled.extend(Word::ALL.iter().filter(|word| word.name() == name));
        }
        enabled.sort_unstable();
        enabled.dedup();
        Whitelist(enabled)
    }

    /// Whether this word may be used.
    pub fn allows(&self, word: Word) -> bool {
        self.0.contains(&word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn srvr_always_and_isro_with_read_only_mode() {
        let none = Whitelist::parse(None, false);
        let allowed = Word::ALL.iter().filter(|w| none.allows(**w));
        assert_eq!(allowed.collect::<Vec<_>>(), [&Word::Srvr]);
        assert!(Whitelist::parse(None, true).allows(Word::Isro));
    }

    #[test]
    fn names_are_trimmed_and_a_star_means_all() {
        let some = Whitelist::parse(Some(" stat, mntr ,,none"), false);
        assert!(some.allows(Word::Stat) && some.allows(Word::Mntr) && !some.allows(Word::Cons));
        let all = Whitelist::parse(Some("stat, *, nonsense"), false);
        assert!(Word::ALL.iter().all(|word| all.allows(*word)));
    }
}
