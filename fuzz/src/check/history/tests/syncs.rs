//! What a sync brings.

use super::*;

#[test]
fn a_sync_brings_what_was_acknowledged_before() {
    let mut story = Story::with_node();
    let before = Zxid(story.now().0 - 1);
    story.history.asked(BOB, 1, sync());
    story.tell(BOB, 1, before, SYNCED());
    assert_eq!(story.broken(), Some("a sync brings what was acknowledged before"));
    // By the next epoch's leader, too.
    let mut story = Story::with_node();
    let before = story.now();
    story.last = 0x2_0000_0000;
    story.history.asked(ANN, 2, set("/a", b"x", -1));
    let zxid = story.commit(1, 2, was_set("/a", b"x", 1));
    let stat = story.stat("/a");
    story.tell(ANN, 2, zxid, Ok(Response::Stat(stat)));
    story.history.asked(BOB, 1, sync());
    story.tell(BOB, 1, before, SYNCED());
    assert_eq!(story.broken(), Some("a sync brings what was acknowledged before"));
}
