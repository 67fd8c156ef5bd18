//! Kinds of watches in requests (`ZooDefs.AddWatchModes`, `Watcher.WatcherType`).

use super::code::codes;

codes! {
    /// How a watch that addWatch leaves behaves.
    AddWatchMode {
        /// Of data and children of one node; stays when it fires.
        Persistent = 0,
        /// Of a node and all below it, without events about children; stays when it fires.
        PersistentRecursive = 1,
    }
    /// Which watches of a path checkWatches looks for and removeWatches removes.
    WatcherType {
        /// One-shot ones of children.
        Children = 1,
        /// One-shot ones of data or existence.
        Data = 2,
        /// Any kind of watch.
        Any = 3,
        /// [`AddWatchMode::Persistent`].
        Persistent = 4,
        /// [`AddWatchMode::PersistentRecursive`].
        PersistentRecursive = 5,
    }
}
