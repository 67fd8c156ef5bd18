//! Random requests in a pipeline with late commits: what the leader predicts is what the
//! store becomes, digest by digest.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Ask(OpCode, Bytes),
    Multi(Vec<(OpCode, Bytes)>),
    Session(usize),
    Expire(usize),
    Commit(usize),
}

fn path() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&[
        "/",
        "/a",
        "/b",
        "/a/x",
        "/a/y",
        "/a/x/1",
        "/b/x",
        "/zookeeper/q",
        "/a/x-0000000001",
    ])
}

fn operation() -> impl Strategy<Value = (OpCode, Bytes)> {
    let version = || prop_oneof![4 => Just(-1), 1 => 0..3];
    prop_oneof![
        4 => (path(), 0..5, any::<bool>()).prop_map(|(path, flags, second)| {
            (if second { OpCode::Create2 } else { OpCode::Create }, create(path, flags))
        }),
        1 => path().prop_map(|path| (OpCode::CreateContainer, create(path, 4))),
        1 => (path(), 5..7, 1i64..9).prop_map(|(path, flags, ttl)| {
            (OpCode::CreateTtl, create_ttl(path, flags, ttl))
        }),
        3 => (path(), version()).prop_map(|(path, v)| (OpCode::Delete, versioned(path, v))),
        3 => (path(), version(), vec(any::<u8>(), 0..9))
            .prop_map(|(path, v, data)| (OpCode::SetData, set_data(path, &data, v))),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => operation().prop_map(|(op, body)| Step::Ask(op, body)),
        1 => (path(), 0..31i32).prop_map(|(path, bits)| {
            Step::Ask(OpCode::SetAcl, set_acl(path, &Vec::from([anyone(bits)]), -1))
        }),
        2 => vec(operation(), 0..5).prop_map(Step::Multi),
        1 => (0..3usize).prop_map(Step::Session),
        1 => (0..3usize).prop_map(Step::Expire),
        4 => (0..6usize).prop_map(Step::Commit),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_store_becomes_what_was_predicted(steps in vec(step(), 1..60)) {
        let sessions = [ME, SessionId(8), SessionId(-9)];
        let mut l = Leader::new();
        for session in &sessions[1..] {
            l.connect(*session);
        }
        for step in steps {
            match step {
                Step::Ask(op, body) => {
                    l.ask(op, body);
                }
                Step::Multi(operations) => {
                    l.ask(OpCode::Multi, multi(&operations));
                }
                Step::Session(n) => l.session = sessions[n],
                Step::Expire(n) => {
                    l.expire(sessions[n]);
                }
                Step::Commit(n) => {
                    for _ in 0..n.min(l.pipeline.len()) {
                        // Compares the digests.
                        l.commit_one();
                    }
                }
            }
        }
        l.commit();
    }
}
