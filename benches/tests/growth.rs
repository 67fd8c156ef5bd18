//! What an operation costs does not grow with the tree or with the connections: shown by counting,
//! not by a clock: allocations, and, if that is asked for, instructions, which `valgrind` counts.

use std::env;
use std::io;
use std::process::Command;

use bytes::Bytes;
use zabkeeper_benches::nodes::{Ask, Client, Nodes};

/// Znodes and clients; one request after the other, each by the next client to any znode.
#[derive(Clone, Copy, Debug)]
struct Size {
    znodes: usize,
    clients: usize,
}

const SMALL: Size = Size { znodes: 1_000, clients: 1 };
const LARGE_TREE: Size = Size { znodes: 50_000, clients: 1 };
const MANY_CLIENTS: Size = Size { znodes: 1_000, clients: COUNTED };
const ASKS: [Ask; 3] = [Ask::Get, Ask::Set, Ask::Create];
/// Operations that are counted: half of the smallest tree, so that each goes to a znode that was
/// not changed before, as it does in a larger one; and each client has asked once before.
const COUNTED: usize = 500;

struct Load {
    nodes: Nodes,
    clients: Vec<Client>,
    znodes: usize,
    next: usize,
}

impl Load {
    fn new(size: Size) -> Load {
        let mut nodes = Nodes::serving_tree(size.znodes);
        let clients = (0..size.clients).map(|_| nodes.client(0)).collect();
        Load { nodes, clients, znodes: size.znodes, next: 0 }
    }

    /// Each by the next client, to any znode.
    fn prepare(&mut self, ask: Ask, count: usize) -> Vec<(Client, Bytes)> {
        let mut all = Vec::with_capacity(count);
        for _ in 0..count {
            let client = &mut self.clients[self.next];
            let bytes = self.nodes.requests_to_any(client, ask, self.znodes, 1);
            all.push((*client, bytes));
            self.next = (self.next + 1) % self.clients.len();
        }
        all
    }

    /// From a client's bytes to the answer's, on all three servers.
    fn operations(&mut self, requests: Vec<(Client, Bytes)>) {
        for (client, bytes) in requests {
            self.nodes.send(client, bytes, 1);
        }
    }

    /// The same by a name that valgrind can be told.
    #[inline(never)]
    fn counted_operations(&mut self, requests: Vec<(Client, Bytes)>) {
        self.operations(requests);
    }
}

/// For each operation, in the order of [`ASKS`].
fn allocations(size: Size) -> [f64; 3] {
    let mut load = Load::new(size);
    ASKS.map(|ask| {
        // What is kept has its room after the first ones.
        let [first, requests] = [0; 2].map(|_| load.prepare(ask, COUNTED));
        load.operations(first);
        let info = allocation_counter::measure(|| load.operations(requests));
        info.count_total as f64 / COUNTED as f64
    })
}

/// The same of instructions, counted by valgrind in processes of their own.
fn instructions(size: Size) -> io::Result<[f64; 3]> {
    let mut counts = [0.0; 3];
    for (count, ask) in counts.iter_mut().zip(0..ASKS.len()) {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .args(["--collect-atstart=no", "--toggle-collect=*counted_operations*"])
            .arg(env::current_exe().expect("a path"))
            .args(["--exact", "a_part_that_is_counted", "--ignored"])
            .env(SIZE, format!("{} {} {ask}", size.znodes, size.clients))
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let collected = said.lines().find_map(|line| line.split_once("Collected : "));
        let (_, collected) = collected.expect("what was collected");
        *count = collected.trim().parse::<f64>().expect("a number") / COUNTED as f64;
    }
    Ok(counts)
}

/// Znodes, clients, and the number of what is asked.
const SIZE: &str = "GROWTH_SIZE";

#[test]
#[ignore = "it is what valgrind counts for another test"]
fn a_part_that_is_counted() {
    let Ok(size) = env::var(SIZE) else { return };
    let numbers: Vec<usize> = size.split(' ').map(|n| n.parse().expect("a number")).collect();
    let [znodes, clients, ask] = numbers[..] else { panic!("{size}") };
    let mut load = Load::new(Size { znodes, clients });
    let [first, requests] = [0; 2].map(|_| load.prepare(ASKS[ask], COUNTED));
    load.operations(first);
    load.counted_operations(requests);
}

/// `most`: how many times as much it may be.
fn assert_flat(what: &str, small: [f64; 3], large: [f64; 3], most: f64) {
    for (ask, (small, large)) in ASKS.into_iter().zip(small.into_iter().zip(large)) {
        println!("{ask:?}: {small:.2} {what} an operation, {large:.2} where there are many more");
        assert!(large <= small * most, "{ask:?}: {small} {what}, then {large}");
    }
}

#[test]
fn operations_allocate_as_often_however_large_the_tree_and_how_many_the_clients() {
    let small = allocations(SMALL);
    assert_flat("allocations", small, allocations(LARGE_TREE), 1.02);
    assert_flat("allocations", small, allocations(MANY_CLIENTS), 1.02);
}

/// In a release: `cargo test --release -p zabkeeper-benches --test growth -- --ignored`.
#[test]
#[ignore = "it takes valgrind a minute, and many where nothing is optimised"]
fn operations_take_as_many_instructions_however_large_the_tree_and_how_many_the_clients() {
    let counted = |size| instructions(size).expect("valgrind");
    let small = counted(SMALL);
    assert_flat("instructions", small, counted(LARGE_TREE), 1.05);
    // A connection is found in a sorted map.
    assert_flat("instructions", small, counted(MANY_CLIENTS), 1.25);
}
