//! Kinds of watches in requests (`ZooDefs.AddWatchModes`, `Watcher.WatcherType`).

/// How a watch that addWatch leaves behaves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(i32)]
pub enum AddWatchMode {
    /// Of data and children of one node; stays when it fires.
    Persistent = 0,
    /// Of a node and all below it, without events about children; stays when it fires.
    PersistentRecursive = 1,
}

impl AddWatchMode {
    /// The mode of a number, if it is one.
    pub fn from_i32(code: i32) -> Option<AddWatchMode> {
        match code {
            0 => Some(AddWatchMode::Persistent),
            1 => Some(AddWatchMode::PersistentRecursive),
            _ => None,
        }
    }
}

/// Which watches of a path checkWatches looks for and removeWatches removes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(i32)]
pub enum WatcherType {
    /// One-shot ones of children.
    Children = 1,
    /// One-shot ones of data or existence.
    Data = 2,
    /// Whatever there is.
    Any = 3,
    /// [`AddWatchMode::Persistent`].
    Persistent = 4,
    /// [`AddWatchMode::PersistentRecursive`].
    PersistentRecursive = 5,
}

impl WatcherType {
    /// The type of a number, if it is one.
    pub fn from_i32(code: i32) -> Option<WatcherType> {
        match code {
            1 => Some(WatcherType::Children),
            2 => Some(WatcherType::Data),
            3 => Some(WatcherType::Any),
            4 => Some(WatcherType::Persistent),
            5 => Some(WatcherType::PersistentRecursive),
            _ => None,
        }
    }
}
