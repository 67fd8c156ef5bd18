//! The core in memory: how long a commit takes on three and five servers, all of their work
//! included, with 1 and with 1,000 outstanding.

#![allow(missing_docs)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use zabkeeper_benches::memory::Memory;

fn commits(c: &mut Criterion) {
    let mut group = c.benchmark_group("commit");
    for servers in [3, 5] {
        for outstanding in [1, 1000] {
            let mut memory = Memory::elected(servers);
            let payload = [7; 128];
            group.throughput(Throughput::Elements(outstanding as u64));
            let id = BenchmarkId::new(format!("{servers} servers, 128 bytes"), outstanding);
            group.bench_function(id, |b| b.iter(|| memory.commit(&payload, outstanding)));
        }
    }
    group.finish();
}

criterion_group!(benches, commits);
criterion_main!(benches);
