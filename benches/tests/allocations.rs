//! The budgets of commits and of clients' operations: allocations and messages, all servers
//! together. A budget is what is measured now and a quarter more: who needs more should know why.

use zabkeeper_benches::memory::allocations_and_messages;
use zabkeeper_benches::nodes::{Ask, Client, Nodes};

#[test]
fn a_commit_stays_within_its_budget() {
    for (servers, outstanding, most) in [(3, 1000, 0.013), (5, 1000, 0.02), (3, 1, 0.19)] {
        let (allocations, messages) = allocations_and_messages(servers, outstanding);
        println!(
            "{servers} servers, {outstanding} outstanding: {allocations:.3} allocations and \
             {messages:.3} messages a commit"
        );
        assert!(allocations < most, "{servers} servers, {outstanding} outstanding: {allocations}");
    }
}

/// At once; what a server has under way before it reads no more is 1,000.
const MANY: usize = 500;

/// Allocations for each of so many operations that are asked for at once, at a follower.
fn per_operation(ask: Ask, outstanding: usize) -> f64 {
    let (mut nodes, mut client) = with_node("/a");
    let mut turn = || {
        let bytes = nodes.requests(&mut client, ask, "/a", outstanding);
        allocation_counter::measure(|| nodes.send(client, bytes, outstanding)).count_total
    };
    for _ in 0..20 {
        turn();
    }
    let counts: u64 = (0..20).map(|_| turn()).sum();
    counts as f64 / (20 * outstanding) as f64
}

fn with_node(path: &str) -> (Nodes, Client) {
    let mut nodes = Nodes::serving();
    let mut client = nodes.client(0);
    let creation = nodes.creation(&mut client, path);
    nodes.send(client, creation, 1);
    (nodes, client)
}

#[test]
fn a_clients_operations_stay_within_their_budgets() {
    for (ask, outstanding, most) in [
        (Ask::Set, MANY, 2.6),
        (Ask::Create, MANY, 6.3),
        (Ask::Get, MANY, 0.05),
        (Ask::Set, 1, 4.0),
        (Ask::Create, 1, 8.1),
        (Ask::Get, 1, 1.25),
    ] {
        let allocations = per_operation(ask, outstanding);
        println!("{ask:?}, {outstanding} outstanding: {allocations:.2} allocations an operation");
        assert!(allocations <= most, "{ask:?}, {outstanding} outstanding: {allocations:.2}");
    }
}

#[test]
fn an_event_stays_within_its_budget() {
    let (mut nodes, mut writer) = with_node("/a");
    let mut watchers: Vec<Client> = (0..1000).map(|_| nodes.client(0)).collect();
    let mut told = 0;
    for round in 0..3 {
        for watcher in &mut watchers {
            let bytes = nodes.requests(watcher, Ask::Watch, "/a", 1);
            nodes.send(*watcher, bytes, 1);
        }
        let bytes = nodes.requests(&mut writer, Ask::Set, "/a", 1);
        let info = allocation_counter::measure(|| nodes.send(writer, bytes, 1 + watchers.len()));
        // The first rounds make room for all that is kept.
        if round == 2 {
            told = info.count_total;
        }
    }
    let allocations = told as f64 / watchers.len() as f64;
    println!("an event to one of {} watchers: {allocations:.3} allocations", watchers.len());
    assert!(allocations <= 0.04, "{allocations}");
}
