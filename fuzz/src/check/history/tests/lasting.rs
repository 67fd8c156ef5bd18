//! Watches that stay when they fire.

use zabkeeper_core::wire::client::{AddWatchRequest, WatcherRequest};

use super::*;

const AS_LEFT: Option<&str> = Some("the watches are those that were left");

/// Ann has left a watch on /a: xid 2.
fn watching(mode: i32) -> Story {
    let mut story = Story::with_node();
    add(&mut story, 2, mode);
    story
}

fn add(story: &mut Story, xid: i32, mode: i32) {
    let request = Request::AddWatch(AddWatchRequest { path: "/a".into(), mode });
    story.history.asked(ANN, xid, request);
    story.tell(ANN, xid, story.now(), Ok(Response::Done));
}

/// Ann looks: which rule is broken, if one is.
fn looks(story: &mut Story, xid: i32) -> Option<&'static str> {
    story.history.asked(ANN, xid, sync());
    story.tell(ANN, xid, story.now(), SYNCED());
    story.broken()
}

#[test]
fn they_fire_for_each_change_once_and_in_order() {
    use EventType::{NodeChildrenChanged, NodeCreated, NodeDataChanged};
    type Events = &'static [(EventType, &'static str, i64)];
    let all: [(i32, Events, Option<&str>); 9] = [
        (0, &[(NodeDataChanged, "/a", -1), (NodeChildrenChanged, "/a", 0)], None),
        (0, &[(NodeDataChanged, "/a", -1)], FIRES_FIRST),
        (0, &[(NodeChildrenChanged, "/a", 0)], FIRES_FIRST),
        (0, &[(NodeChildrenChanged, "/a", 0), (NodeDataChanged, "/a", -1)], FIRES_ONCE),
        (0, &[(NodeDataChanged, "/a", -1), (NodeDataChanged, "/a", -1)], FIRES_ONCE),
        (0, &[(NodeDataChanged, "/a", -2)], FIRES_ONCE),
        (0, &[(NodeCreated, "/a/x", 0)], FIRES_ONCE),
        (1, &[(NodeDataChanged, "/a", -1), (NodeCreated, "/a/x", 0)], None),
        (1, &[(NodeDataChanged, "/a", -1), (NodeChildrenChanged, "/a", 0)], FIRES_ONCE),
    ];
    for (mode, events, rule) in all {
        let mut story = watching(mode);
        story.bob_sets("/a", 1, 1);
        let zxid = story.bob_makes("/a/x", 2, 1);
        for (kind, path, back) in events {
            story.history.fired(ANN, *kind, path, Zxid(zxid.0 + back));
        }
        let broken = story.broken();
        assert_eq!(broken.or_else(|| looks(&mut story, 3)), rule, "{mode} {events:?}");
    }
}

#[test]
fn one_event_is_for_all_watches() {
    let mut story = watching(0);
    add(&mut story, 3, 1);
    story.read(ANN, 4, exists("/a"), story.now());
    story.bob_sets("/a", 1, 1);
    story.fired(ANN, EventType::NodeDataChanged, "/a");
    assert_eq!(looks(&mut story, 5), None);
    story.bob_deletes("/a", 2);
    story.fired(ANN, EventType::NodeDeleted, "/a");
    assert_eq!(looks(&mut story, 6), None);
}

#[test]
fn event_before_the_next_server_knows_the_watch_is_optional() {
    for is_told in [true, false] {
        let mut story = watching(1);
        story.history.detached(ANN);
        story.bob_sets("/a", 1, 1);
        story.history.attached(ANN, SessionId(1));
        if is_told {
            story.fired(ANN, EventType::NodeDataChanged, "/a");
        }
        assert_eq!(looks(&mut story, 3), None);
        story.bob_sets("/a", 2, 2);
        assert_eq!(looks(&mut story, 4), FIRES_FIRST);
    }
}

#[test]
fn they_are_there_until_they_are_removed() {
    let there = Ok(Response::Done);
    let ask = |story: &mut Story, kind, xid, result: &Result<Response, Failure>| {
        let request = WatcherRequest { path: "/a".into(), kind };
        story.history.asked(ANN, xid, Request::RemoveWatches(request));
        story.tell(ANN, xid, story.now(), result.clone());
        story.broken()
    };
    let none = REFUSED(ErrorCode::NoWatcher);
    for (mode, kind, other) in [(0, 4, 5), (1, 5, 4), (0, 3, 1), (1, 3, 2)] {
        let mut story = watching(mode);
        assert_eq!(ask(&mut story, other, 3, &none), None);
        assert_eq!(ask(&mut story, kind, 4, &there), None);
        // It is gone.
        story.bob_sets("/a", 1, 1);
        assert_eq!(looks(&mut story, 5), None);
        assert_eq!(ask(&mut story, kind, 6, &none), None);
        story.fired(ANN, EventType::NodeDataChanged, "/a");
        assert_eq!(story.broken(), FIRES_ONCE);
        let mut story = watching(mode);
        assert_eq!(ask(&mut story, other, 3, &there), AS_LEFT);
        assert_eq!(ask(&mut story, kind, 4, &none), AS_LEFT);
    }
}
