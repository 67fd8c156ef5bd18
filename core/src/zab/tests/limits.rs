//! What one member may send is more than another one lets its clients send.

use alloc::string::String;

use bytes::Bytes;

use super::world::World;
use crate::zab::Role;

/// A transaction that server 1 lets no client write.
fn long() -> String {
    "x".repeat(5000)
}

#[test]
fn oversized_proposal_is_logged_if_it_can_be_stored() {
    let mut world = World::new(3, 1);
    world.limits.extend([(1, (1000, 10_000)), (4, (1000, 10_000))]);
    world.start_all().run(3000);
    world.propose(&long());
    world.propose("short");
    world.run(1000);
    assert_eq!(world.story(), "1 follows 3, 2 follows 3, 3 leads epoch 1, 4 observes 3");
    assert_eq!(world.payloads(1), [long(), "short".into()]);
    // Also by a DIFF.
    world.crash(1);
    world.propose(&long());
    world.start(1).run(3000);
    assert_eq!(world.payloads(1), [long(), "short".into(), long()]);
    assert!(world.joins[&1] <= 3, "{:?}", world.joins);
}

#[test]
fn join_pauses_after_a_proposal_that_cannot_be_stored() {
    let mut world = World::new(3, 0);
    world.limits.insert(1, (1000, 1000));
    world.start_all().run(3000);
    world.propose("short");
    world.run(100);
    world.propose(&long());
    let joins = world.joins[&1];
    world.run(60_000);
    let more = world.joins[&1] - joins;
    // After 1, 2, 4, 8 and then every 10 seconds.
    assert!((5..=12).contains(&more), "{more} attempts in a minute");
    assert_ne!(world.role(1), Role::Following { active: true, observing: false });
    assert_eq!(world.payloads(2), ["short".into(), long()], "the others go on");
    // With the limit of the others it joins.
    world.limits.clear();
    world.crash(1).start(1).run(3000);
    assert_eq!(world.payloads(1), ["short".into(), long()]);
}

#[test]
fn forwarded_request_is_limited_as_a_request() {
    let mut world = World::new(3, 0);
    world.limits.insert(3, (1000, 10_000));
    world.start_all().run(3000);
    let request = Bytes::from(long());
    world.with(1, |ensemble, out| ensemble.request(request.clone(), None, out));
    world.run(100);
    assert_eq!(world.servers[&3].requests, [request]);
    assert_eq!(world.role(1), Role::Following { active: true, observing: false });
}

#[test]
fn too_long_packet_names_length_and_limit() {
    use crate::action::Reason;
    use crate::wire::jute::Malformed;
    use crate::zab::limits;
    let too_long = Malformed::TooLong { length: 5_000_095, limit: 1000 };
    assert!(matches!(
        limits::learner_close_reason(too_long),
        Reason::TooLong { length: 5_000_095, .. }
    ));
    let malformed = limits::learner_close_reason(Malformed::Length(-2));
    assert_eq!(malformed, Reason::Peer(crate::wire::PeerError::MalformedPacket));
    let world = World::new(1, 0);
    let mut replica = super::super::Replica::new(
        crate::types::ServerId(1),
        alloc::sync::Arc::default(),
        super::world::options(),
    );
    assert_eq!(
        limits::leader_packet_error(world.now, &mut replica, too_long),
        "a packet of 5000095 bytes from the leader exceeds the limit of 1000; jute.maxbuffer is \
         1048575 here: start with -Djute.maxbuffer of the other members"
    );
    let malformed = limits::leader_packet_error(world.now, &mut replica, Malformed::Truncated);
    assert_eq!(malformed, "malformed quorum packet from the leader");
}
