//! Four-letter words: what a monitor sends instead of a first frame's length
//! (`FourLetterCommands`).

macro_rules! words {
    ($($(#[$doc:meta])* $word:ident = $bytes:literal, $name:literal;)*) => {
        /// A word that ZooKeeper 3.9 knows. As a frame's length each of them would be far
        /// above any limit, which is how it is told from one.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Word { $($(#[$doc])* $word,)* }

        impl Word {
            /// All words, in the order of their names.
            pub const ALL: &[Word] = &[$(Word::$word),*];

            /// The word that these bytes are, if they are one.
            pub fn parse(first: [u8; 4]) -> Option<Word> {
                match &first { $($bytes => Some(Word::$word),)* _ => None }
            }

            /// Its name in the whitelist and in messages.
            pub fn name(self) -> &'static str {
                match self { $(Word::$word => $name,)* }
            }
        }
    };
}

words! {
    /// The configuration in force.
    Conf = b"conf", "conf";
    /// All client connections with their sessions.
    Cons = b"cons", "cons";
    /// Resets the connections' figures.
    Crst = b"crst", "crst";
    /// Sizes of the data directories.
    Dirs = b"dirs", "dirs";
    /// Sessions and ephemerals.
    Dump = b"dump", "dump";
    /// The environment.
    Envi = b"envi", "envi";
    /// The trace mask.
    Gtmk = b"gtmk", "gtmk";
    /// The last digests of the tree.
    Hash = b"hash", "hash";
    /// Read-only or not.
    Isro = b"isro", "isro";
    /// All metrics.
    Mntr = b"mntr", "mntr";
    /// Alive or not.
    Ruok = b"ruok", "ruok";
    /// Resets the server's figures.
    Srst = b"srst", "srst";
    /// The server at a glance.
    Srvr = b"srvr", "srvr";
    /// The server at a glance, with its clients.
    Stat = b"stat", "stat";
    /// Sets the trace mask; eight more bytes follow.
    Stmk = b"stmk", "stmk";
    /// The bytes that a telnet client sends when it closes.
    TelnetClose = b"\xff\xf4\xff\xfd", "telnet close";
    /// Watches by session.
    Wchc = b"wchc", "wchc";
    /// Watches by path.
    Wchp = b"wchp", "wchp";
    /// Watches, counted.
    Wchs = b"wchs", "wchs";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_known_by_its_bytes() {
        for word in Word::ALL {
            if let Ok(bytes) = <[u8; 4]>::try_from(word.name().as_bytes()) {
                assert_eq!(Word::parse(bytes), Some(*word));
            }
        }
        assert_eq!(Word::parse([0xff, 0xf4, 0xff, 0xfd]), Some(Word::TelnetClose));
        assert_eq!(Word::parse(*b"GET "), None);
        assert_eq!(Word::parse([0, 0, 0, 44]), None);
    }
}
