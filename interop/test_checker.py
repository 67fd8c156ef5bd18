"""The checker of test_faults.py on hand-made histories: correct ones, and violations of each rule."""
import collections

import pytest

from zk import checker
from zk.records import (BAD_VERSION, INCONSISTENT, NO_NODE, NODE_EXISTS, SESSION_MOVED, Event, History, Operation,
                        Session, Stat)

GRACE = 3.0
R, OTHER = "/t/r-0", "/t/r-1"
SEQ, EPH, LOCK = "/t/seq", "/t/eph", "/t/lock-0"


class Story:
    """A history, request by request: each is sent after the answer to the one before, except for
    requests with explicit times."""

    def __init__(self):
        self.history, self.now, self.places = History(), 0.0, collections.Counter()
        self.live(1, 1)
        self.live(2, 2)

    def live(self, number, *connections, timeout=6.0):
        self.history.sessions[number] = Session(number, timeout, list(connections))
        return self.history.sessions[number]

    def op(self, kind, path="", zxid=0, session=1, connection=None, lost=False, sent=None, answered=None, **fields):
        one = Operation(kind, path, session=session, connection=connection or session, xid=1, zxid=zxid, **fields)
        one.sent = self.now + 1 if sent is None else sent
        if not lost:
            one.answered = one.sent + 1 if answered is None else answered
            one.place = self.place(one.connection)
            self.now = max(self.now, one.answered)
        self.history.operations.append(one)
        return one

    def place(self, connection):
        self.places[connection] += 1
        return self.places[connection]

    def set(self, value, zxid=0, version=None, path=R, expected=-1, **fields):
        """`version` is the resulting version, `expected` the one of the request."""
        result = None if version is None else Stat(1, zxid, version)
        return self.op("set", path, zxid, value=value, version=expected, result=result, **fields)

    def get(self, value, mzxid, version, zxid, path=R, **fields):
        return self.op("get", path, zxid, result=(value, Stat(1, mzxid, version)), **fields)

    def create(self, path, zxid=0, told=None, **fields):
        return self.op("create", path, zxid, value=b"c", result=path if told is None else told, **fields)

    def children(self, path, zxid, *names, **fields):
        return self.op("children", path, zxid, result=frozenset(names), **fields)

    def event(self, kind, path, zxid=-1, session=1, connection=None):
        connection = connection or session
        self.history.events.append(Event(session, connection, self.place(connection), self.now, kind, path, zxid))

    def violations(self):
        return checker.check(self.history, GRACE)


WRONG, RIGHT = [], []


def wrong(rule, text):
    def keep(tell):
        WRONG.append(pytest.param(rule, text, tell, id=tell.__name__))
        return tell
    return keep


def right(tell):
    RIGHT.append(pytest.param(tell, id=tell.__name__))
    return tell


@pytest.mark.parametrize("rule, text, tell", WRONG)
def test_violation_is_found(rule, text, tell):
    story = Story()
    tell(story)
    found = story.violations()
    assert [v for v in found if v.rule == rule and text in v.text], [str(v) for v in found]
    assert all(str(v) for v in found)


@pytest.mark.parametrize("tell", RIGHT)
def test_correct_history_has_no_violation(tell):
    story = Story()
    tell(story)
    assert [str(v) for v in story.violations()] == []


def begun(story):
    story.get(b"", 1, 0, 1)


# Answers.

@wrong("answer", "is told /t/seq/b-0000000000")
def a_create_is_told_anothers_path(story):
    story.create(f"{SEQ}/a-", 2, f"{SEQ}/b-0000000000", sequential=True)


@wrong("answer", "is told /t/seq/a-12")
def a_sequence_number_has_ten_digits(story):
    story.create(f"{SEQ}/a-", 2, f"{SEQ}/a-12", sequential=True)


@wrong("answer", "at version 1000000 gives version 1")
def a_set_at_a_version_that_never_was_succeeds(story):
    begun(story)
    story.set(b"a", 2, 1, expected=1_000_000)


@wrong("answer", "mzxid is not")
def a_set_is_told_the_stat_of_another(story):
    begun(story)
    story.set(b"a", 3, 1).result = Stat(1, 2, 1)


@wrong("answer", "error -103 is no answer")
def a_set_at_any_version_has_a_wrong_version(story):
    story.set(b"a", 2, error=BAD_VERSION)


@wrong("answer", "error -101 is no answer")
def a_register_is_not_there(story):
    story.op("get", R, 2, error=NO_NODE)


@wrong("answer", "error -110 is no answer")
def a_sequential_node_exists(story):
    story.op("create", f"{SEQ}/a-", 2, error=NODE_EXISTS, sequential=True)


@wrong("answer", "a sync of /t/r-0 is told /t/r-1")
def a_sync_is_told_another_path(story):
    story.op("sync", R, 2, result=OTHER)


@wrong("answer", "came instead")
def an_answer_has_anothers_xid(story):
    story.history.strays.append((story.op("get", R, lost=True), "an answer with xid 7 came instead"))


# Real time.

@wrong("real time", "at or below 0x5")
def a_write_is_older_than_what_was_known(story):
    begun(story)
    story.set(b"a", 5, 1)
    story.set(b"b", 4, 1, path=OTHER, session=2)


@wrong("real time", "at or below 0x5")
def a_write_is_older_than_what_was_read(story):
    story.get(b"", 1, 0, 5)
    story.set(b"b", 4, 1, session=2)


@wrong("real time", "two writes were answered with zxid 0x5")
def two_writes_have_one_zxid(story):
    story.set(b"a", 5, 1, sent=1.0, answered=4.0)
    story.set(b"b", 5, 1, path=OTHER, session=2, sent=2.0, answered=3.0)


@right
def writes_under_way_at_once_have_any_order(story):
    begun(story)
    story.set(b"a", 6, 2, sent=3.0, answered=6.0)
    story.set(b"b", 5, 1, session=2, sent=4.0, answered=5.0)
    story.get(b"a", 6, 2, 6)


@wrong("sync", "the state of zxid 0x4")
def a_read_after_a_sync_shows_an_old_state(story):
    begun(story)
    story.set(b"a", 5, 1, session=2)
    story.get(b"", 1, 0, 4, synced=story.now + 1)


@right
def a_read_without_a_sync_may_show_an_old_state(story):
    begun(story)
    story.set(b"a", 5, 1, session=2)
    story.get(b"", 1, 0, 4)


# Sessions.

@wrong("session order", "0x4 was answered after 0x5")
def a_session_goes_back_on_another_member(story):
    story.history.sessions[1].connections.append(3)
    story.get(b"", 1, 0, 5)
    story.get(b"", 1, 0, 4, connection=3)


@wrong("read", "version 1 was there")
def a_session_does_not_read_what_it_wrote(story):
    begun(story)
    story.set(b"a", 5, 1)
    story.get(b"", 1, 0, 5)


@wrong("session order", "one that was sent before it at 0x6")
def a_set_is_overtaken_by_a_later_one_of_its_session(story):
    begun(story)
    story.history.sessions[1].connections.append(3)
    story.set(b"a", lost=True)
    story.set(b"b", 5, 1, connection=3)
    story.get(b"a", 6, 2, 6, connection=3)


@wrong("expiry", "was called expired 2.000 s after")
def a_session_that_is_heard_expires(story):
    session = story.live(1, 1, timeout=6.0)
    session.heard, session.expired = 10.0, 12.0


@right
def a_session_that_was_not_heard_expires(story):
    session = story.live(1, 1, timeout=6.0)
    session.heard, session.expired = 10.0, 16.0


# Registers.

@wrong("register", "two contents of version 1")
def two_sets_give_one_version(story):
    begun(story)
    story.set(b"a", 5, 1)
    story.set(b"b", 6, 1, session=2)


@wrong("register", "one set gave versions 1 and 2")
def a_set_is_applied_twice(story):
    begun(story)
    story.set(b"a", lost=True)
    story.get(b"a", 5, 1, 5)
    story.get(b"a", 6, 2, 6)


@wrong("register", "nobody wrote b'x'")
def a_value_comes_from_nowhere(story):
    begun(story)
    story.get(b"x", 5, 1, 5)


@wrong("register", "a refused set gave version 1")
def a_refused_set_shows(story):
    begun(story)
    story.set(b"a", 5, error=BAD_VERSION, expected=7)
    story.get(b"a", 5, 1, 5)


@wrong("register", "shows as version 2")
def a_set_shows_elsewhere_than_it_was_told(story):
    begun(story)
    story.set(b"a", 5, 1)
    story.get(b"a", 6, 2, 6)


@wrong("register", "a set at version 4 gave version 1")
def a_lost_set_shows_at_a_version_that_it_did_not_ask_for(story):
    begun(story)
    story.set(b"a", lost=True, expected=4)
    story.get(b"a", 5, 1, 5)


@wrong("register", "which was known before it was sent")
def a_lost_set_took_place_before_it_was_sent(story):
    begun(story)
    story.get(b"", 1, 0, 9, path=OTHER)
    story.set(b"a", lost=True)
    story.get(b"a", 5, 1, 9)


@wrong("register", "is older than the one before")
def versions_go_up_and_zxids_down(story):
    begun(story)
    story.set(b"a", 6, 1)
    story.set(b"b", 5, 2, session=2)


@wrong("register", "have no writer; 1 sets")
def there_are_more_versions_than_sets(story):
    begun(story)
    story.set(b"a", lost=True)
    story.set(b"b", lost=True, expected=9)
    story.set(b"z", 9, 3)


@wrong("register", "a create of /t/r-0 is answered OK")
def a_node_is_created_that_exists(story):
    begun(story)
    story.create(R, 5)


@right
def lost_sets_may_have_happened(story):
    begun(story)
    story.set(b"a", lost=True)
    story.set(b"b", lost=True, expected=1)
    story.set(b"never", lost=True)
    story.set(b"z", 9, 3)
    story.get(b"z", 9, 3, 9)


@wrong("read", "version 2 was there")
def an_acknowledged_set_is_lost(story):
    begun(story)
    story.set(b"a", 5, 1)
    story.set(b"b", 6, 2)
    story.get(b"a", 5, 1, 7, session=2)


@wrong("read", "has a change of 0x6")
def a_read_shows_what_its_state_does_not_have(story):
    begun(story)
    story.set(b"a", 6, 1)
    story.get(b"a", 6, 1, 5, session=2)


@wrong("read", "a check of version 0")
def a_check_of_a_version_that_is_over_succeeds(story):
    begun(story)
    story.set(b"a", 5, 1)
    story.op("multi", zxid=6, parts=[Operation("check", R, version=0)])


@wrong("refusal", "had version 1 at zxid 0x7")
def the_right_version_is_refused(story):
    begun(story)
    story.set(b"a", 5, 1)
    story.set(b"b", 7, error=BAD_VERSION, expected=1)
    story.get(b"a", 5, 1, 9)


@wrong("refusal", "had version 0 at zxid 0x4")
def the_right_version_is_refused_for_what_comes_later(story):
    begun(story)
    story.set(b"a", 5, 1, sent=3.0, answered=9.0)
    story.set(b"b", 4, error=BAD_VERSION, expected=0, session=2, sent=3.0, answered=8.0)
    story.get(b"a", 5, 1, 9)


@right
def an_old_version_is_refused(story):
    begun(story)
    story.set(b"a", 5, 1)
    story.set(b"b", 7, error=BAD_VERSION, expected=0)
    story.op("set", R, 8, value=b"c", error=SESSION_MOVED)


# Multis.

def two_sets(story, **fields):
    parts = [Operation("set", R, b"m"), Operation("set", OTHER, b"n")]
    return story.op("multi", parts=parts, **fields)


@wrong("multi", "it has no place in /t/r-1")
def half_a_multi_is_followed_by_another_set(story):
    two_sets(story, lost=True)
    story.get(b"m", 5, 1, 5)
    story.get(b"", 1, 0, 5, path=OTHER)
    story.set(b"z", 9, 1, path=OTHER)


@wrong("multi", "it does not show in /t/r-1")
def half_a_multi_shows(story):
    two_sets(story, lost=True)
    story.get(b"m", 5, 1, 5)
    story.get(b"", 1, 0, 6, path=OTHER)


@wrong("multi", "its parts have different zxids")
def a_multi_shows_at_two_zxids(story):
    two_sets(story, lost=True)
    story.get(b"m", 5, 1, 6)
    story.get(b"n", 6, 1, 6, path=OTHER)


@wrong("register", "a refused set gave version 8")
def a_refused_multi_shows(story):
    multi = two_sets(story, error=BAD_VERSION, zxid=5)
    for part, error in zip(multi.parts, (INCONSISTENT, BAD_VERSION)):
        part.error, part.version = error, 7
    story.get(b"m", 5, 8, 5)


# Nodes.

@wrong("node", "it was created, nobody deleted it, and it is not there")
def an_acknowledged_node_is_lost(story):
    story.create(f"{SEQ}/a-", 5, f"{SEQ}/a-0000000000", sequential=True)
    story.children(SEQ, 6, session=2)


@wrong("node", "it is there, and nobody created it")
def a_node_comes_from_nowhere(story):
    story.children(SEQ, 6, "x-0000000000")


@wrong("node", "it is there, and nobody created it")
def a_node_is_created_twice(story):
    story.create(f"{SEQ}/a-", 5, f"{SEQ}/a-0000000000", sequential=True)
    story.children(SEQ, 6, "a-0000000000", "a-0000000001")


@wrong("node", "it is there again")
def a_deleted_node_comes_back(story):
    story.create(f"{SEQ}/a", 5)
    story.op("delete", f"{SEQ}/a", 6)
    story.children(SEQ, 7, "a")


@wrong("node", "it was created, nobody deleted it")
def a_node_is_created_where_it_is(story):
    story.create(LOCK, 5)
    story.create(LOCK, 6, session=2)


@wrong("node", "it is there, and nobody created it")
def a_node_is_said_to_exist(story):
    story.op("create", LOCK, 6, error=NODE_EXISTS)


@wrong("node", "it was created, nobody deleted it")
def a_node_is_said_not_to_be_there(story):
    story.create(LOCK, 5)
    story.op("delete", LOCK, 6, error=NO_NODE)


@wrong("node", "it was created at 0x5, not at 0x6")
def a_node_is_another_one(story):
    story.create(LOCK, 5)
    story.op("exists", LOCK, 7, result=Stat(6, 6, 0))


@wrong("node", "its number is not above 4")
def sequence_numbers_go_back(story):
    story.create(f"{SEQ}/a-", 5, f"{SEQ}/a-0000000004", sequential=True)
    story.create(f"{SEQ}/b-", 6, f"{SEQ}/b-0000000003", sequential=True)


@right
def lost_creates_and_deletes_may_have_happened(story):
    story.create(f"{SEQ}/a-", lost=True, sequential=True)
    story.create(LOCK, 3)
    story.children(SEQ, 4, "a-0000000000")
    story.op("delete", f"{SEQ}/a-0000000000", lost=True)
    story.children(SEQ, 5)
    story.op("delete", LOCK, lost=True)
    story.create(LOCK, 7)
    story.op("delete", LOCK, lost=True)
    story.create(LOCK, lost=True)
    story.op("exists", LOCK, 9, result=Stat(8, 8, 0))
    story.op("exists", LOCK, 10, result=Stat(8, 8, 0))


def ephemeral(story, zxid=5):
    return story.create(f"{EPH}/a-e", zxid, ephemeral=True)


@wrong("node", "it was created, nobody deleted it")
def an_ephemeral_goes_while_its_session_lives(story):
    ephemeral(story)
    story.children(EPH, 6, session=2)
    story.get(b"", 1, 0, 7)


@wrong("node", "it was created, nobody deleted it")
def a_session_is_answered_after_its_ephemeral_has_gone(story):
    ephemeral(story)
    story.children(EPH, 6, session=2)
    story.get(b"", 1, 0, 7)
    story.history.sessions[1].expired = 99.0


@wrong("node", "it is there again")
def an_ephemeral_is_there_after_its_session_was_closed(story):
    ephemeral(story)
    story.op("close", zxid=6)
    story.children(EPH, 7, "a-e", session=2)


@wrong("node", "it is there after its session was called expired")
def an_ephemeral_is_there_after_its_session_expired(story):
    ephemeral(story)
    story.history.sessions[1].expired = story.now + 10
    story.children(EPH, 7, "a-e", session=2, sent=20.0, synced=20.0)


@wrong("node", "it is there again")
def an_ephemeral_comes_back(story):
    ephemeral(story)
    story.history.sessions[1].left = story.now
    story.children(EPH, 6, session=2)
    story.children(EPH, 7, "a-e", session=2)


@right
def an_ephemeral_goes_with_its_session(story):
    ephemeral(story)
    story.history.sessions[1].expired = 20.0
    story.children(EPH, 6, "a-e", session=2)
    story.children(EPH, 7, session=2, sent=30.0, synced=30.0)


# Watches.

def watched(story, **fields):
    begun(story)
    story.get(b"", 1, 0, 2, watch=True, **fields)


@wrong("watch", "the event did not come before it")
def an_answer_shows_a_change_before_its_event(story):
    watched(story)
    story.set(b"a", 5, 1, session=2)
    story.get(b"a", 5, 1, 5)
    story.event(3, R, 5)


@wrong("watch", "the event did not come before it")
def an_answer_about_another_node_shows_a_state_past_the_change(story):
    watched(story)
    story.set(b"a", 5, 1, session=2)
    story.get(b"", 1, 0, 6, path=OTHER)


@wrong("watch", "nobody waits for")
def a_watch_fires_twice(story):
    watched(story)
    story.set(b"a", 5, 1, session=2)
    story.set(b"b", 6, 2, session=2)
    story.event(3, R, 5)
    story.event(3, R, 6)


@wrong("watch", "the first change was at zxid 0x5")
def a_watch_misses_a_change(story):
    watched(story)
    story.set(b"a", 5, 1, session=2)
    story.set(b"b", 6, 2, session=2)
    story.event(3, R, 6)


@wrong("watch", "an event of zxid 0x2 for a watch set at 0x2")
def an_event_tells_of_what_was_before(story):
    watched(story)
    story.event(3, R, 2)


@wrong("watch", "the event did not come before it")
def a_watch_that_is_set_again_does_not_tell_what_was_missed(story):
    story.history.sessions[1].connections.append(3)
    watched(story)
    story.set(b"a", 5, 1, session=2)
    story.op("watches", zxid=6, connection=3, paths=[("data", R)])
    story.get(b"a", 5, 1, 6, connection=3)


@wrong("watch", "the event did not come before it")
def a_directory_changes_before_its_event(story):
    story.children(SEQ, 2, watch=True)
    story.create(f"{SEQ}/a", 5, session=2)
    story.children(SEQ, 5, "a")


@right
def events_come_first(story):
    story.history.sessions[1].connections.append(3)
    watched(story)
    story.children(SEQ, 2, watch=True)
    story.set(b"a", 5, 1, session=2)
    story.event(3, R, 5)
    story.get(b"a", 5, 1, 5, watch=True)
    story.set(b"b", 6, 2, session=2)
    story.create(f"{SEQ}/a", 7, session=2)
    story.event(3, R, -1, connection=3)
    story.event(4, SEQ, -1, connection=3)
    story.op("watches", zxid=8, connection=3, paths=[("children", SEQ), ("data", R)])
    story.get(b"b", 6, 2, 8, connection=3)


# Liveness.

@wrong("liveness", "no write")
def a_client_gets_nothing_through(story):
    story.history.stuck.append("client 1 got no write through")
