//! A directory, loaded as a server would.

use zabkeeper_core::config::Config;
use zabkeeper_core::disk::{Disk, DiskOptions, MemoryFiles, drive};
use zabkeeper_core::event::{DiskEvent, DiskFault, Recovered};
use zabkeeper_core::node::{disk_options, store_options};
use zabkeeper_core::store::{Store, StoreOptions};

/// What became of a recovery.
pub(crate) enum Outcome {
    Recovered(Box<Recovered<Store>>),
    Failed(DiskFault),
}

/// Loads a server's directory.
pub(crate) fn load(config: &Config, files: &mut MemoryFiles) -> Outcome {
    load_with(disk_options(config), store_options(config), files)
}

pub(crate) fn load_with(
    options: DiskOptions,
    store: StoreOptions,
    files: &mut MemoryFiles,
) -> Outcome {
    let mut disk: Disk<Store> = Disk::new(options, store);
    let mut events = Vec::new();
    let mut operations = 0;
    let mut execute = |operation: &_| {
        operations += 1;
        assert!(operations < 100_000, "the recovery never ends");
        files.execute(operation)
    };
    drive(&mut disk, &mut execute, &mut events);
    match events.pop() {
        Some(DiskEvent::Recovered(recovered)) => Outcome::Recovered(recovered),
        Some(DiskEvent::Failed(fault)) => Outcome::Failed(fault),
        other => panic!("neither recovered nor failed: {other:?}"),
    }
}
