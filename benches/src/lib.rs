//! What the benches share: an ensemble in memory, with disks that are durable at once; real
//! ensembles, load on them, and the comparison with Apache ZooKeeper.

pub mod compare;
pub mod ensemble;
pub mod load;
pub mod machine;
pub mod memory;
pub mod nodes;
pub mod report;
pub mod stop;
