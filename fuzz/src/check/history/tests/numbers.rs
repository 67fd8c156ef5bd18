//! Clients that number their requests anew on each connection.

use super::*;

/// Ann has asked for these on a connection that is lost, each as number 2, and is attached again.
fn asked_before(asked: Request) -> Story {
    let mut story = Story::with_node();
    story.history.asked(ANN, 2, asked);
    story.history.detached(ANN);
    story.tell(ANN, 2, Zxid::ZERO, Err(Failure::ConnectionLost));
    story.history.attached(ANN, SessionId(1));
    story
}

#[test]
fn numbers_may_come_again_on_the_next_connection() {
    let mut story = asked_before(set("/a", b"old", -1));
    story.history.asked(ANN, 1, create("/b", 0));
    story.history.asked(ANN, 2, set("/a", b"new", -1));
    story.commit(1, 2, was_set("/a", b"old", 1));
    let made = story.commit(1, 1, created("/b", 2, false));
    let done = story.commit(1, 2, was_set("/a", b"new", 2));
    story.tell(ANN, 1, made, Ok(Response::Path("/b".into())));
    let stat = story.stat("/a");
    story.tell(ANN, 2, done, Ok(Response::Stat(stat)));
    assert_eq!(story.broken(), None);
    story.commit(1, 2, was_set("/a", b"new", 3));
    assert_eq!(story.broken(), ASKED_FOR);
}

#[test]
fn an_answer_to_a_lost_connection_is_none_to_the_next() {
    let mut story = asked_before(set("/a", b"old", -1));
    story.history.asked(ANN, 2, set("/a", b"new", -1));
    let done = story.commit(1, 2, was_set("/a", b"old", 1));
    let stat = story.stat("/a");
    story.tell(ANN, 2, done, Ok(Response::Stat(stat)));
    assert_eq!(story.broken(), Some("what is acknowledged is committed"));
    // Nothing is left to tell them apart, until the second is done before the first.
    let mut story = asked_before(set("/a", b"x", -1));
    story.history.asked(ANN, 2, set("/a", b"x", -1));
    let done = story.commit(1, 2, was_set("/a", b"x", 1));
    let stat = story.stat("/a");
    story.tell(ANN, 2, done, Ok(Response::Stat(stat)));
    assert_eq!(story.broken(), None);
}

#[test]
fn requests_of_a_lost_connection_precede_those_of_the_next() {
    let mut story = asked_before(set("/a", b"old", -1));
    story.history.asked(ANN, 1, create("/b", 0));
    story.commit(1, 1, created("/b", 2, false));
    assert_eq!(story.broken(), None);
    story.commit(1, 2, was_set("/a", b"old", 1));
    assert_eq!(story.broken(), Some("a session's writes are done in its order"));
}

#[test]
fn requests_of_one_number_are_done_once_each() {
    let mut story = asked_before(set("/a", b"x", -1));
    story.history.asked(ANN, 2, set("/a", b"x", -1));
    story.commit(1, 2, was_set("/a", b"x", 1));
    story.commit(1, 2, was_set("/a", b"x", 2));
    assert_eq!(story.broken(), None);
    story.commit(1, 2, was_set("/a", b"x", 3));
    assert_eq!(story.broken(), Some("a write happens once"));
}
