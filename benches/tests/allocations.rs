//! The budget of a commit: allocations and messages, all servers together.

use zabkeeper_benches::memory::Memory;

fn per_commit(servers: usize, outstanding: usize) -> (f64, f64) {
    let mut memory = Memory::elected(servers);
    let payload = [7; 128];
    for _ in 0..20 {
        memory.commit(&payload, outstanding);
    }
    let (rounds, before) = (20, memory.messages);
    let info = allocation_counter::measure(|| {
        for _ in 0..rounds {
            memory.commit(&payload, outstanding);
        }
    });
    let commits = (rounds * outstanding) as f64;
    (info.count_total as f64 / commits, (memory.messages - before) as f64 / commits)
}

#[test]
fn a_commit_stays_within_its_budget() {
    for (servers, outstanding, most) in [(3, 1000, 4.0), (5, 1000, 6.0), (3, 1, 40.0)] {
        let (allocations, messages) = per_commit(servers, outstanding);
        println!(
            "{servers} servers, {outstanding} outstanding: {allocations:.3} allocations and \
             {messages:.3} messages a commit"
        );
        assert!(allocations < most, "{servers} servers, {outstanding} outstanding: {allocations}");
    }
}
