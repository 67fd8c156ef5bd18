"""Hand-written sequences: what every kind of operation does where it is easy to get wrong, and
every difference that was ever found. A name says what is asked."""
from . import requests as rq
from .story import Story

CASES = {}


def case(write):
    CASES[write.__name__] = write
    return write


def items_of(name, prefix):
    story = Story(prefix)
    CASES[name](story, prefix)
    return story.items


# ---- requests that hold a null where a text is expected

@case
def null_path_in_every_write(s, p):
    s.begin()
    for op in [rq.create(None), rq.create(None, flags=9), rq.delete(None), rq.set_data(None, b""),
               rq.set_acl(None, rq.OPEN), rq.create(None, name="create2"), rq.set_acl(None, [])]:
        s.do(0, op, rq.create(p + "/next", flags=2))


@case
def null_path_in_a_multi(s, p):
    s.begin()
    for op in [rq.create(None), rq.delete(None), rq.set_data(None, b""), rq.check(p, 0)]:
        s.do(0, rq.multi([rq.create(p + "/a"), op]), rq.create(p + "/next", flags=2))


@case
def null_path_in_every_read(s, p):
    s.begin()
    for name in ["exists", "getData", "getChildren", "getChildren2"]:
        s.do(0, rq.read(name, None), rq.read(name, None, watch=True))
    s.do(0, rq.of_path("getACL", None), rq.of_path("sync", None))


@case
def null_id_in_an_acl(s, p):
    s.begin()
    for scheme in ["world", "auth", "digest", "ip", "unheard", "sasl", "super", "x509", "", None]:
        s.do(0, rq.create(p + "/a", acl=[(31, scheme, None)]), rq.set_acl(p, [(31, scheme, None)]))


# ---- a multi that cannot be read

@case
def multi_with_an_unknown_kind_of_create(s, p):
    s.begin().do(0, rq.multi([rq.set_data(p, b"x"), rq.create(p + "/a", flags=-1)]), rq.read("getData", p))


@case
def multi_of_what_does_not_belong(s, p):
    s.begin()
    for op in [rq.read("exists", p), rq.set_acl(p, rq.OPEN), rq.of_path("sync", p), rq.plain("ping")]:
        s.do(0, rq.multi([rq.create(p + "/a"), op]), rq.read("exists", p))


@case
def empty_multi(s, p):
    s.begin().do(0, rq.multi([]), rq.read("exists", p), rq.multi([]))


@case
def multi_that_fails_in_the_middle(s, p):
    s.begin().do(0, rq.multi([rq.create(p + "/a"), rq.delete(p + "/none"), rq.set_data(p, b"x")]),
                 rq.read("exists", p + "/a"), rq.multi([rq.check(p, 7)]),
                 rq.multi([rq.create(p + "/s", flags=2), rq.create(p + "/s", flags=3), rq.delete(p, 5)]),
                 rq.create(p + "/s", flags=2))


# ---- watches

@case
def one_event_for_a_deleted_node_with_both_watches(s, p):
    s.begin(2).do(0, rq.create(p + "/a"))
    s.do(1, rq.read("getData", p + "/a", True), rq.read("getChildren", p + "/a", True), rq.read("exists", p, True))
    s.do(1, rq.read("getChildren", p, True))
    s.do(0, rq.delete(p + "/a"), rq.create(p + "/a"), rq.delete(p + "/a"))


@case
def events_come_before_the_answer(s, p):
    s.begin().together(0, rq.read("exists", p + "/a", True), rq.read("getChildren", p, True), rq.create(p + "/a"),
                       rq.read("getData", p + "/a", True), rq.set_data(p + "/a", b"1"), rq.set_data(p + "/a", b"2"))


@case
def a_watch_that_may_not_be_told_is_gone_all_the_same(s, p):
    s.begin(2).do(1, rq.auth("digest", b"user:secret"))
    s.do(1, rq.create(p + "/a", acl=[(31, "auth", "")]))
    s.do(0, rq.read("exists", p + "/a", True), rq.read("exists", p + "/b", True))
    s.do(1, rq.set_data(p + "/a", b"1"), rq.create(p + "/b", acl=[(31, "auth", "")]))
    s.do(1, rq.set_acl(p + "/b", rq.OPEN), rq.set_data(p + "/b", b"2"))


@case
def set_watches_catches_up(s, p):
    s.begin(2).do(0, rq.create(p + "/a"), rq.create(p + "/b"), rq.create(p + "/c"))
    s.do(0, rq.set_data(p + "/a", b"1"), rq.delete(p + "/b"), rq.create(p + "/c/d"))
    every = [p + "/a", p + "/b", p + "/c", p + "/none", "", "/", "bad"]
    for since in [0, 1, 2, 3, 50]:
        s.do(1, rq.set_watches(since, every, every, every))
    s.do(0, rq.delete(p + "/a"), rq.create(p + "/b"), rq.delete(p + "/c/d"))


@case
def set_watches_with_a_null_inside(s, p):
    s.begin()
    s.do(0, rq.set_watches(0, [p + "/none", p, None, p + "/other"], [], []))
    s.do(0, rq.set_watches(0, [p + "/none"], [None, p], [p + "/none"]))
    s.do(0, rq.set_watches(0, [p + "/none"], [p], [p + "/none", None, p]))
    s.do(0, rq.set_watches(0, None, [p], []), rq.set_watches(0, [p + "/none"], None, []),
         rq.set_watches(0, [p + "/none"], [p], None), rq.set_data(p, b"x"))


# ---- sessions

@case
def connect_of_every_kind(s, p):
    s.begin()
    for read_only in [None, False, True]:
        for version in [0, 1, -1]:
            s.connect(1, read_only=read_only, version=version).do(1, rq.plain("ping"))
    for timeout in [0, -1, 1, 4000, 40_000, 600_000, 600_001, 2**31 - 1, -2**31]:
        s.connect(1, timeout=timeout).do(1, rq.close_session())


@case
def a_wrong_password_is_refused(s, p):
    s.begin(2)
    for password in ["wrong", "short", "null"]:
        s.connect(2).drop(2).connect(3, session=2, password=password)
        s.connect(3, session=2).do(3, rq.read("exists", p))


@case
def a_session_goes_from_connection_to_connection(s, p):
    s.begin(2).do(1, rq.create(p + "/mine", flags=1), rq.read("getData", p, True))
    s.connect(2, session=1).do(2, rq.read("getData", p + "/mine")).do(0, rq.set_data(p, b"1"))
    s.connect(1, session=1).drop(1).connect(1, session=1).do(1, rq.close_session())
    s.do(0, rq.read("exists", p + "/mine")).connect(1, session=1)


@case
def a_client_from_the_future_is_not_answered(s, p):
    s.begin().connect(1, seen="future").connect(1, seen=-1).connect(1, seen=0).do(1, rq.plain("ping"))


@case
def a_session_that_never_was(s, p):
    s.begin().connect(1, session="none such").connect(1, session="none such", password="null", read_only=None)


@case
def closing_deletes_ephemerals_before_the_answer(s, p):
    s.begin(2).do(0, rq.read("getChildren", p, True), rq.read("exists", p + "/e", True))
    s.do(1, rq.create(p + "/e", flags=1), rq.create(p + "/f", flags=1), rq.read("exists", p + "/e", True))
    s.do(0, rq.read("getChildren", p, True), rq.read("exists", p + "/e", True)).do(1, rq.close_session())
    s.do(0, rq.read("getChildren2", p))


# ---- operations that end the connection

@case
def unknown_operations(s, p):
    s.begin()
    for code in [0, 10, -1, 23, 50, 99, 108, 999, -2, -9, -12, 2**31 - 1, -2**31]:
        s.connect(1).do(1, rq.unknown(code))


@case
def check_outside_a_multi(s, p):
    s.begin(2).do(1, rq.check(p, 0))


@case
def auth_of_every_kind(s, p):
    s.begin()
    for scheme, data in [("digest", b"a:b"), ("digest", b"a"), ("digest", b""), ("digest", b"a:b:c"),
                         ("digest", b"\xff:x"), ("ip", b"1.2.3.4"), ("ip", b""), ("world", b"anyone"),
                         ("unheard", b"x"), ("", b""), ("auth", b""), ("sasl", b"x"), ("super", b"")]:
        s.connect(1).do(1, rq.auth(scheme, data), rq.create(p + "/a", acl=[(31, "auth", "")], flags=2))


# ---- nodes

@case
def bad_paths_everywhere(s, p):
    s.begin()
    bad = ["", "/", "x", p + "/", p + "//a", p + "/.", p + "/..", p + "/./a", p + "/a\0b", p + "/\x01", p + "/\x7f",
           p + "/\u0085", p + "/\u00e9", p + "/\ud800", p + "/\ue000", p + "/\ufffd", p + "/\U0001f600",
           p.encode() + b"/\xff", p.encode() + b"/\xed\xa0\xbd\xed\xb8\x80", p + "/...", "/zookeeper", "/zookeeper/quota",
           "/zookeeper/config", "//", "/.", "/zookeeper/none"]
    for path in bad:
        s.do(0, rq.create(path), rq.create(path, flags=2), rq.delete(path, 99), rq.set_data(path, b"", 99))
        s.do(0, rq.multi([rq.check(path, 99)]), rq.of_path("getACL", path))
        if path != p + "/\U0001f600":
            # ZooKeeper answers with surrogates of three bytes each, which is no UTF-8.
            s.do(0, rq.of_path("sync", path))
        for name in ["exists", "getData", "getChildren", "getChildren2"]:
            s.do(0, rq.read(name, path))
        if path not in ("", "/") and not (isinstance(path, str) and path.startswith("/zookeeper")):
            s.do(0, rq.set_acl(path, rq.OPEN))


@case
def flags_of_every_kind(s, p):
    s.begin()
    for flags in [*range(-2, 9), 16, 2**31 - 1, -2**31]:
        for name in ["create", "create2"]:
            s.do(0, rq.create(f"{p}/{name}{flags}", flags=flags, name=name))
    s.do(0, rq.read("getChildren2", p))


@case
def versions_of_every_kind(s, p):
    s.begin().do(0, rq.create(p + "/a"))
    for version in [-1, 0, 1, 2, -2, 2**31 - 1, -2**31]:
        s.do(0, rq.set_data(p + "/a", b"x", version), rq.set_acl(p + "/a", rq.OPEN, version),
             rq.multi([rq.check(p + "/a", version)]), rq.delete(p + "/a", version), rq.create(p + "/a"))


@case
def acls_of_every_kind(s, p):
    s.begin(2).do(1, rq.auth("digest", b"user:secret"), rq.auth("digest", b"other:word"))
    ids = [("ip", "127.0.0.1"), ("ip", "127.0.0.1/8"), ("ip", "127.0.0.1/0"), ("ip", "127.0.0.1/32"), ("ip", "127.0.0.1/33"),
           ("ip", "127.0.0.1/-1"), ("ip", "127.0.0.1/"), ("ip", "127.0.0.1/8/8"), ("ip", "127.1"), ("ip", "::1"),
           ("ip", "::1/128"), ("ip", "::1/129"), ("ip", "::/0"), ("ip", "fe80::1%1"), ("ip", "localhost"), ("ip", ""),
           ("ip", "::ffff:127.0.0.1"), ("ip", "127.0.0.1 "), ("ip", "0127.0.0.1"), ("ip", "127.0.0.1/+8"), ("ip", "127.0.0.1/08"),
           ("digest", "a:b"), ("digest", "a"), ("digest", "a:b:c"), ("digest", ":"), ("digest", ":b"), ("digest", "a:"),
           ("digest", ""), ("auth", "any"), ("world", "anyone"), ("world", "any"), ("world", ""), ("", ""),
           ("sasl", "a"), ("x509", "CN=a"), ("super", "a"), ("World", "anyone"), ("digest", "a:b "), ("ip", "1.2.3.4/a")]
    for scheme, name in ids:
        for slot in (0, 1):
            s.do(slot, rq.create(p + "/a", acl=[(31, scheme, name)]), rq.of_path("getACL", p + "/a"),
                 rq.read("getData", p + "/a"), rq.set_acl(p + "/a", [(31, scheme, name), (1, "world", "anyone")]),
                 rq.delete(p + "/a"))


@case
def permissions_of_every_operation(s, p):
    s.begin(2).do(1, rq.auth("digest", b"user:secret"))
    for perms in [0, 1, 2, 4, 8, 16, 31, 32, -1]:
        a = f"{p}/a{perms}"
        s.do(1, rq.create(a, acl=[(perms, "world", "anyone"), (31, "auth", "")]), rq.create(a + "/c"))
        s.do(0, rq.read("getData", a), rq.read("exists", a), rq.read("getChildren", a), rq.read("getChildren2", a),
             rq.of_path("getACL", a), rq.set_data(a, b"x"), rq.create(a + "/d"), rq.create(a + "/c"),
             rq.delete(a + "/none"), rq.delete(a + "/c", 9), rq.delete(a + "/c"), rq.set_acl(a, [], 9),
             rq.set_acl(a, rq.OPEN, 9), rq.multi([rq.check(a, 0)]), rq.of_path("sync", a))


@case
def the_superuser_may_all(s, p):
    s.begin(2).do(0, rq.create(p + "/a", acl=[(0, "world", "anyone")]), rq.read("getData", p + "/a"))
    s.do(1, rq.auth("digest", b"super:admin"), rq.read("getData", p + "/a"), rq.of_path("getACL", p + "/a"),
         rq.create(p + "/b", acl=[(31, "auth", "")]), rq.of_path("getACL", p + "/b"), rq.set_acl(p + "/a", rq.OPEN))
    s.do(0, rq.of_path("getACL", p + "/b"), rq.of_path("getACL", p + "/a"))


@case
def null_data_and_empty_data(s, p):
    s.begin()
    for data in [None, b"", b"\0"]:
        s.do(0, rq.create(p + "/a", data), rq.read("getData", p + "/a"), rq.set_data(p + "/a", None),
             rq.read("getData", p + "/a"), rq.set_data(p + "/a", b""), rq.read("getData", p + "/a"), rq.delete(p + "/a"))


@case
def numbers_of_xids(s, p):
    s.begin()
    for xid in [0, -1, -3, -4, -8, -9, 5, 5, 2**31 - 1, -2**31]:
        for op in [rq.read("exists", p), rq.create(p + "/s", flags=2), rq.set_data(p, b"x", 1000), rq.of_path("sync", p)]:
            op.xid = xid
            s.do(0, op)
    ping = rq.plain("ping")
    ping.xid = 77
    s.do(0, ping)


# ---- found by random sequences

@case
def create_ttl_without_ttl_flags_in_a_multi(s, p):
    s.begin()
    for flags in [0, 1, 2, 3, 4, 7, -1]:
        for ttl in [1000, 0, -1]:
            s.do(0, rq.multi([rq.create_ttl(p + "/a", ttl, flags=flags), rq.delete(p + "/a")]), rq.read("exists", p))


@case
def multi_read_of_what_does_not_belong(s, p):
    s.begin()
    for parts in [[rq.read("getData", p), rq.read("getData", None)], [rq.delete(p)], [rq.check(p, 0)],
                  [rq.read("getData", p), rq.delete(p)], [rq.delete(p), rq.read("getData", p)], [rq.read("exists", p)],
                  [rq.create(p + "/a", flags=9)], [rq.read("getChildren", None), rq.read("getData", p)]]:
        s.do(0, rq.multi(parts, "multiRead"), rq.read("exists", p))


@case
def numbers_of_children_of_odd_paths(s, p):
    s.begin().do(0, rq.create(p + "/a"), rq.create(p + "/a/b"), rq.create(p + "/ab"))
    for path in [p, p + "/a", p + "/", p + "/none", "", None, "relative", "/zookeeper"]:
        s.do(0, rq.of_path("getAllChildrenNumber", path))


@case
def ephemerals_below_odd_prefixes(s, p):
    s.begin().do(0, *[rq.create(f"{p}/e{n}", flags=1) for n in range(3)])
    for prefix in ["", " ", "/", " / ", "\t", "\u00a0", "\u2003", None, p, p + "/e1", p + "/e1/", "e", "/none"]:
        s.do(0, rq.of_path("getEphemerals", prefix))


@case
def nulls_in_the_lists_of_set_watches(s, p):
    s.begin()
    for at in range(5):
        for bad in [None, [None], [p, None, p + "/none"]]:
            lists = [[p + "/none"], [p], [p + "/none"], [p], [p]]
            lists[at] = bad
            if at < 3:
                s.do(0, rq.set_watches(0, *lists[:3]))
            if lists[3] is not None:
                s.do(0, rq.set_watches(0, *lists))
    s.do(0, rq.set_data(p, b"x"))


@case
def watches_of_a_null_path(s, p):
    s.begin()
    for kind in [1, 2, 3, 4, 5, 0]:
        s.do(0, rq.of_watch("checkWatches", None, kind), rq.of_watch("removeWatches", None, kind))
    for mode in [0, 1, 2]:
        s.do(0, rq.of_watch("addWatch", None, mode))
