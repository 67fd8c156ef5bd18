//! A session's answers come in the order of its requests, whatever the log and other
//! sessions do meanwhile.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Deed {
    Ask {
        client: usize,
        what: u8,
    },
    Commit,
    Synced,
    /// A client took its replies.
    Writable,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        6 => (0..3usize, 0..9u8).prop_map(|(client, what)| Deed::Ask { client, what }),
        3 => Just(Deed::Commit),
        1 => Just(Deed::Synced),
        1 => Just(Deed::Writable),
    ]
}

proptest! {
    #[test]
    fn answers_keep_the_order_of_requests(
        deeds in proptest::collection::vec(deed(), 1..120),
        limit in 2usize..20,
    ) {
        let options = ClientPortOptions { outstanding_limit: limit, ..options() };
        let mut server = Server::with(options, 1);
        let clients: Vec<ConnId> = (1..=3).map(|n| server.client(n).0).collect();
        server.create(clients[0], "/big");
        // Two of its kind fill what is written without waiting for the client.
        let big = alloc::vec![7; 700_000];
        server.ask(clients[0], 0, OpCode::SetData, set("/big", &big));
        server.hear(clients[0]);
        server.eager = false;
        let mut asked = [0; 3];
        let mut heard: [Vec<Heard>; 3] = Default::default();
        for deed in deeds {
            match deed {
                Deed::Ask { client, what } => {
                    asked[client] += 1;
                    let (conn, xid) = (clients[client], asked[client]);
                    match what {
                        0 => server.ask(conn, xid, OpCode::Create, create("/n-", 2)),
                        1 => server.ask(conn, xid, OpCode::SetData, set("/missing", b"")),
                        2 => server.ask(conn, xid, OpCode::Multi, |out| {
                            out.put_i32(-1);
                            out.put_boolean(true);
                            out.put_i32(-1);
                        }),
                        3 => server.ask(conn, xid, OpCode::Sync, path("/")),
                        4 => server.ask(conn, xid, OpCode::GetChildren2, look("/")),
                        5 => server.ask(conn, xid, OpCode::GetData, look("/big")),
                        6 => server.ask(conn, xid, OpCode::AddWatch, nothing),
                        7 => server.ask(conn, xid, OpCode::Create, nothing),
                        _ => server.ask(conn, xid, OpCode::Exists, look("/missing")),
                    }
                }
                Deed::Commit if !server.proposed.is_empty() => {
                    server.commit_one();
                    server.settle();
                }
                Deed::Commit => {}
                Deed::Synced => {
                    if let Some(session) = server.syncs.pop_front() {
                        server.synced(session);
                        server.settle();
                    }
                }
                Deed::Writable => write_all(&mut server),
            }
        }
        loop {
            server.catch_up();
            write_all(&mut server);
            if server.proposed.is_empty() && server.syncs.is_empty() && server.unwritten.is_empty() {
                break;
            }
        }
        for (client, conn) in clients.iter().enumerate() {
            heard[client].extend(server.hear(*conn));
            let xids: Vec<i32> = heard[client].iter().filter_map(|h| match h {
                Heard::Reply { xid, .. } => Some(*xid),
                _ => None,
            }).collect();
            prop_assert_eq!(xids, (1..=asked[client]).collect::<Vec<_>>());
            let count = |what| heard[client].iter().filter(|h| **h == what).count();
            prop_assert_eq!(count(Heard::Paused), count(Heard::Resumed));
        }
        prop_assert_eq!(server.client_port.outstanding(), 0);
    }
}

fn write_all(server: &mut Server) {
    for conn in core::mem::take(&mut server.unwritten) {
        server.client_port.writable(server.now, &server.store, conn, &mut server.out);
        server.settle();
    }
}
