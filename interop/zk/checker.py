"""Judges a history: says each answer, event or state that ZooKeeper's promises exclude.

The zxids make it simple: an answer to a write carries the zxid of its transaction, and an answer to
a read the zxid up to which its state goes. So all writes have an order, and each read one place in
it. Values are unique, each version of a node has one writer. A write without an answer may have
happened, once.

The keys are of three kinds. Registers (/.../r-*) exist from the beginning to the end and are set.
Directories are listed; names in them are created once. Locks (/.../lock-*) are created and deleted.
"""
import bisect
import collections
import dataclasses

from .records import (BAD_VERSION, INCONSISTENT, NO_NODE, NODE_CHILDREN_CHANGED, NODE_DATA_CHANGED, NODE_EXISTS,
                      SESSION_EXPIRED, SESSION_MOVED, WRITES)

NO_SESSION = (SESSION_EXPIRED, SESSION_MOVED)


@dataclasses.dataclass
class Violation:
    rule: str
    text: str
    operations: list

    def __str__(self):
        return "\n    ".join([f"{self.rule}: {self.text}", *map(str, self.operations)])


def check(history, grace):
    """All violations. `grace`: seconds for which a member may answer without its leader."""
    state = Judge(history)
    for rule in (state.answers, state.real_time, state.sessions_go_on, state.registers, state.nodes, state.watches):
        rule()
    state.expiries(grace)
    state.strays_and_liveness()
    return state.violations


def is_register(path):
    return path.rpartition("/")[2].startswith("r-")


def directory(path):
    return path.rpartition("/")[0]


def flat(operations):
    """Multis as their parts, which share what is the multi's."""
    for op in operations:
        if op.kind != "multi":
            yield op
            continue
        for part in op.parts:
            for name in ("session", "connection", "xid", "sent", "answered", "zxid", "member"):
                setattr(part, name, getattr(op, name))
            if op.done:
                part.error = 0
            yield part


def final(history):
    """The mzxid of each register at the end."""
    last = {}
    for op in history.operations:
        if op.kind == "get" and op.done and op.zxid >= last.get(op.path, (0, 0))[0]:
            last[op.path] = op.zxid, op.result[1].mzxid
    return {path: mzxid for path, (_, mzxid) in last.items()}


class Judge:
    """The rules, and what more than one of them needs."""

    def __init__(self, history):
        self.history, self.violations = history, []
        self.operations = sorted(history.operations, key=lambda op: op.sent)
        self.flat = list(flat(self.operations))
        self.changes = collections.defaultdict(list)  # (kind of watch, path) → sorted zxids
        self.completed, self.highest = [], []  # answers in time, and the highest zxid up to each
        highest = 0
        for op in sorted((op for op in self.operations if op.answered is not None), key=lambda op: op.answered):
            highest = max(highest, op.zxid)
            self.completed.append(op.answered)
            self.highest.append(highest)

    def wrong(self, rule, text, *operations):
        self.violations.append(Violation(rule, text, [op for op in operations if op is not None]))

    def known_before(self, moment):
        """The highest zxid that somebody had been told before a moment."""
        at = bisect.bisect_left(self.completed, moment)
        return self.highest[at - 1] if at else 0

    # An answer is that of its own request.

    def answers(self):
        for op in self.flat:
            if op.done:
                self.answer_fits(op)
            elif op.refused and op.error not in NO_SESSION and not self.may_refuse(op):
                self.wrong("answer", f"error {op.error} is no answer to this request", op)

    def answer_fits(self, op):
        rule = "answer"
        if op.kind == "create":
            tail = op.result[len(op.path):] if op.result.startswith(op.path) else None
            fits = tail is not None and (len(tail) == 10 and tail.isdigit() if op.sequential else tail == "")
            if not fits:
                self.wrong(rule, f"a create of {op.path} is told {op.result}", op)
        elif op.kind == "set":
            if op.result.mzxid != op.zxid:
                self.wrong(rule, "the stat's mzxid is not the answer's zxid", op)
            if op.version != -1 and op.result.version != op.version + 1:
                self.wrong(rule, f"a set at version {op.version} gives version {op.result.version}", op)
        elif op.kind == "sync" and op.result != op.path:
            self.wrong(rule, f"a sync of {op.path} is told {op.result}", op)

    @staticmethod
    def may_refuse(op):
        """Errors that some state could give; whether the state was such is judged elsewhere."""
        if op.error == INCONSISTENT:
            return True
        if op.kind in ("set", "check"):
            return op.error == BAD_VERSION and op.version != -1
        if op.kind == "create":
            return op.error == NODE_EXISTS and not op.sequential
        return op.kind in ("delete", "exists") and op.error == NO_NODE and not is_register(op.path)

    # The order of zxids is that of real time.

    def real_time(self):
        seen = {}
        for op in self.operations:
            if op.answered is None:
                continue
            if op.kind in WRITES and op.error not in NO_SESSION:
                other = seen.setdefault(op.zxid, op)
                if other is not op:
                    self.wrong("real time", f"two writes were answered with zxid {op.zxid:#x}", other, op)
                if op.zxid <= self.known_before(op.sent):
                    self.wrong("real time", f"a write has a zxid at or below {self.known_before(op.sent):#x}, "
                               "which was known before it was sent", self.teller(op), op)
            elif op.synced is not None and op.zxid < self.known_before(op.synced):
                self.wrong("sync", f"a read after a sync shows the state of zxid {op.zxid:#x}, though "
                           f"{self.known_before(op.synced):#x} was known before the sync was sent",
                           self.teller(op, op.synced), op)

    def teller(self, op, moment=None):
        """Who was told a zxid that `op` should have come after."""
        zxid = self.known_before(moment or op.sent)
        return next((o for o in self.operations if o.zxid == zxid and o.answered is not None), None)

    # A session's answers never go back, wherever it is.

    def sessions_go_on(self):
        arrivals = collections.defaultdict(list)
        for op in self.operations:
            if op.answered is not None:
                arrivals[op.session].append(op)
        for ops in arrivals.values():
            ops.sort(key=lambda op: (op.connection, op.place))
            for before, op in zip(ops, ops[1:]):
                if op.zxid < before.zxid and op.error not in NO_SESSION:
                    self.wrong("session order", f"zxid {op.zxid:#x} was answered after {before.zxid:#x}", before, op)

    def requests_keep_their_order(self, tables):
        """A session's sets take place in the order in which it sent them, also those without an answer."""
        shown = {(path, value): mzxid for path, rows in tables.items() for mzxid, value, _ in rows.values()}
        last = {}
        for top in sorted(self.operations, key=lambda op: (op.connection, op.xid)):
            places = [shown.get((op.path, op.value), 0) for op in top.parts or [top] if op.kind == "set"]
            zxid = max(places, default=0)
            before, other = last.get(top.session, (0, None))
            if zxid and zxid <= before:
                self.wrong("session order", f"a set took place at zxid {zxid:#x}, and one that was sent before it "
                           f"at {before:#x}", other, top)
            elif zxid:
                last[top.session] = zxid, top

    # Registers: one writer for each version, and each read shows the version of its zxid.

    def registers(self):
        by_path = collections.defaultdict(list)
        for op in self.flat:
            if is_register(op.path) and op.kind in ("set", "get", "check", "create", "delete"):
                by_path[op.path].append(op)
        tables = {path: self.table(path, ops) for path, ops in by_path.items()}
        for path, rows in tables.items():
            self.changes["data", path] = sorted(mzxid for mzxid, _, _ in rows.values())
        self.multis_are_whole(tables)
        self.requests_keep_their_order(tables)
        for path, ops in by_path.items():
            self.reads(ops, tables[path])
            self.refusals(path, ops, tables[path])
            self.gaps(path, ops, tables[path])

    def table(self, path, ops):
        """version → (mzxid, value, who told it)."""
        rows, rule = {}, "register"
        writers = {op.value: op for op in ops if op.kind == "set"}
        for op in ops:
            if op.done and op.kind == "set":
                version, row = op.result.version, (op.zxid, op.value, op)
            elif op.done and op.kind == "get":
                version, row = op.result[1].version, (op.result[1].mzxid, op.result[0], op)
            else:
                if op.done and op.kind in ("create", "delete"):
                    self.wrong(rule, f"a {op.kind} of {path} is answered OK", op)
                continue
            other = rows.setdefault(version, row)
            if other[:2] != row[:2]:
                self.wrong(rule, f"two contents of version {version} of {path}", other[2], op)
        values = {}
        for version, (mzxid, value, op) in sorted(rows.items()):
            writer = writers.get(value)
            if version == 0 and writer is None:
                continue
            if value in values:
                self.wrong(rule, f"one set gave versions {values[value]} and {version} of {path}", writer, op)
            values[value] = version
            self.may_have_written(path, version, mzxid, value, writer, op)
        ordered = sorted(rows.items())
        for (_, a), (version, b) in zip(ordered, ordered[1:]):
            if b[0] <= a[0]:
                self.wrong(rule, f"version {version} of {path} is older than the one before", a[2], b[2])
        return rows

    def may_have_written(self, path, version, mzxid, value, writer, op):
        rule = "register"
        if writer is None:
            self.wrong(rule, f"nobody wrote {value!r}, version {version} of {path}", op)
        elif writer.refused:
            self.wrong(rule, f"a refused set gave version {version} of {path}", writer, op)
        elif writer.done and (writer.zxid != mzxid or writer.result.version != version):
            self.wrong(rule, f"a set shows as version {version} of {path} at zxid {mzxid:#x}", writer, op)
        elif writer.version not in (-1, version - 1):
            self.wrong(rule, f"a set at version {writer.version} gave version {version} of {path}", writer, op)
        elif mzxid <= self.known_before(writer.sent):
            self.wrong(rule, f"a set took place at zxid {mzxid:#x}, which was known before it was sent", writer, op)

    def multis_are_whole(self, tables):
        """A multi that shows in one place shows in all."""
        shown = {(path, value): (mzxid, op) for path, rows in tables.items() for mzxid, value, op in rows.values()}
        for multi in self.operations:
            sets = [part for part in multi.parts if part.kind == "set"]
            found = [shown[p.path, p.value] for p in sets if (p.path, p.value) in shown]
            if not found:
                continue
            if len({mzxid for mzxid, _ in found}) > 1:
                self.wrong("multi", "its parts have different zxids", multi, *[op for _, op in found])
            mzxid, witness = found[0]
            for part in sets:
                at = bisect.bisect_left(self.changes["data", part.path], mzxid)
                rows = sorted(tables[part.path].items())
                if (part.path, part.value) in shown:
                    continue
                if 0 < at < len(rows) and rows[at - 1][0] + 1 == rows[at][0]:
                    around = rows[at - 1][1][2], rows[at][1][2]
                    self.wrong("multi", f"it has no place in {part.path}", multi, witness, *around)
                elif at == len(rows):
                    later = next((op for op in self.operations
                                  if op.kind == "get" and op.path == part.path and op.zxid >= mzxid), None)
                    if later:
                        self.wrong("multi", f"it does not show in {part.path}", multi, witness, later)

    def reads(self, ops, rows):
        changes = sorted((mzxid, version) for version, (mzxid, _, _) in rows.items())
        for op in ops:
            if op.done and op.kind == "check":
                self.checked(op, rows)
            if not op.done or op.kind != "get":
                continue
            stat = op.result[1]
            if stat.mzxid > op.zxid:
                self.wrong("read", f"a state of zxid {op.zxid:#x} has a change of {stat.mzxid:#x}", op)
            at = bisect.bisect_right(changes, (op.zxid, 1 << 40)) - 1
            if at >= 0 and changes[at][1] > stat.version:
                version = changes[at][1]
                self.wrong("read", f"at zxid {op.zxid:#x} version {version} was there", rows[version][2], op)

    def checked(self, op, rows):
        own, after = rows.get(op.version), rows.get(op.version + 1)
        if own and own[0] > op.zxid or after and after[0] < op.zxid:
            self.wrong("read", f"a check of version {op.version} succeeds", own and own[2], after and after[2], op)

    def refusals(self, path, ops, rows):
        last = max(rows, default=0)
        for op in ops:
            if not op.refused or op.error != BAD_VERSION or op.version not in rows or rows[op.version][0] >= op.zxid:
                continue
            after = rows.get(op.version + 1)
            if after[0] > op.zxid if after else op.version == last:
                self.wrong("refusal", f"{path} had version {op.version} at zxid {op.zxid:#x}", rows[op.version][2],
                           after and after[2], op)

    def gaps(self, path, ops, rows):
        """Versions that nobody saw are those of sets without an answer."""
        seen = {value for _, value, _ in rows.values()}
        lost = [op for op in ops if op.kind == "set" and op.answered is None and op.value not in seen]
        free = sum(op.version == -1 for op in lost)
        conditional = {op.version for op in lost if op.version != -1}
        missing = [v for v in range(max(rows, default=0)) if v not in rows and v - 1 not in conditional and v > 0]
        if len(missing) > free:
            self.wrong("register", f"versions {missing} of {path} have no writer; {free} sets have no answer",
                       *lost[:5])

    # Nodes that come and go: in directories, each name once; locks; ephemerals with their sessions.

    def nodes(self):
        by_directory = collections.defaultdict(list)
        for op in self.flat:
            if op.kind == "children" and op.done:
                by_directory[op.path].append(op)
            elif op.kind == "close":
                continue
            elif op.kind in ("create", "delete", "exists") and not is_register(op.path):
                by_directory[directory(op.path)].append(op)
        closes = {op.session: op for op in self.operations if op.kind == "close"}
        alive = collections.defaultdict(int)
        for op in self.operations:
            if op.done and op.kind != "close":
                alive[op.session] = max(alive[op.session], op.zxid)
        for path, ops in by_directory.items():
            Nodes(self, path, ops, closes, alive).judge()

    # Watches: the event comes before an answer that shows the change, and once.

    def watches(self):
        arrivals = collections.defaultdict(list)
        for op in self.operations:
            if op.place >= 0:
                arrivals[op.connection].append(op)
        for event in self.history.events:
            arrivals[event.connection].append(event)
        for session in self.history.sessions.values():
            watches = {}
            for connection in session.connections:
                watches = self.watches_of(sorted(arrivals[connection], key=lambda one: one.place), watches)

    def watches_of(self, arrivals, carried):
        """The watches that are set when a connection ends."""
        watches, renewed = dict(carried), set()
        is_new = not carried
        for one in arrivals:
            if not hasattr(one, "xid"):
                self.event(one, watches)
                continue
            for key, (zxid, setter) in watches.items():
                if is_new or key in renewed:
                    change = self.next_change(key, zxid)
                    if change and change <= one.zxid and one.error not in NO_SESSION:
                        self.wrong("watch", f"{key[1]} changed at zxid {change:#x}, the answer shows zxid "
                                   f"{one.zxid:#x}, the event did not come before it", setter, one)
                        watches = {k: v for k, v in watches.items() if k != key}
            if one.kind == "watches":
                renewed = set(one.paths)
            elif one.watch and one.done:
                key = ("data" if one.kind == "get" else "children", one.path)
                watches.setdefault(key, (one.zxid, one))
                renewed.add(key)
        return watches

    def next_change(self, key, zxid):
        changes = self.changes[key]
        at = bisect.bisect_right(changes, zxid)
        return changes[at] if at < len(changes) else None

    def event(self, event, watches):
        kinds = {NODE_DATA_CHANGED: "data", NODE_CHILDREN_CHANGED: "children"}
        key = (kinds.get(event.kind), event.path)
        if key not in watches:
            self.wrong("watch", "an event that nobody waits for", event)
            return
        zxid, setter = watches.pop(key)
        if event.zxid <= 0:
            return
        change = self.next_change(key, zxid)
        if event.zxid <= zxid:
            self.wrong("watch", f"an event of zxid {event.zxid:#x} for a watch set at {zxid:#x}", setter, event)
        elif change and change < event.zxid:
            self.wrong("watch", f"the first change was at zxid {change:#x}", setter, event)

    # A session that is heard does not expire.

    def expiries(self, grace):
        for session in self.history.sessions.values():
            if session.expired is not None and session.left is None:
                silent = session.expired - session.heard
                if silent < session.timeout - grace:
                    heard = [op for op in self.operations if op.session == session.number and op.answered is not None]
                    self.wrong("expiry", f"session {session.number:#x}, time-out {session.timeout} s, was called "
                               f"expired {silent:.3f} s after a request that was answered", *heard[-1:])

    def strays_and_liveness(self):
        for op, text in self.history.strays:
            self.wrong("answer", text, op)
        for text in self.history.stuck:
            self.wrong("liveness", text)


class Nodes:
    """The nodes of one directory, in the order of zxids."""

    def __init__(self, judge, path, ops, closes, alive):
        self.judge_, self.path, self.ops = judge, path, ops
        self.closes, self.alive = closes, alive
        self.present = {}  # path → the create that made it, or None
        self.gone = set()
        self.told = set()  # paths of which a violation was said
        self.lost_creates, self.lost_deletes = collections.defaultdict(list), collections.defaultdict(list)
        self.creators = {}  # path → its last create
        self.sequence = (-1, None)  # the last number and its create
        for op in ops:
            if op.answered is None and op.kind in ("create", "delete"):
                (self.lost_creates if op.kind == "create" else self.lost_deletes)[op.path].append(op)

    def judge(self):
        writes = [op for op in self.ops if op.answered is not None and op.kind in ("create", "delete")]
        reads = [op for op in self.ops if op.answered is not None and op.kind in ("exists", "children")]
        ends = [op for op in self.closes.values() if op.done]
        points = sorted([(op.zxid, 0, n, op) for n, op in enumerate(writes + ends)]
                        + [(op.zxid, 1, n, op) for n, op in enumerate(reads)])
        for _, _, _, op in points:
            if op.error in NO_SESSION or op.error == INCONSISTENT:
                continue
            getattr(self, op.kind)(op)

    def wrong(self, path, text, *operations):
        if path not in self.told:
            self.told.add(path)
            self.judge_.wrong("node", f"{path}: {text}", *operations)

    def create(self, op):
        if op.refused:
            self.must_be(op.path, op)
            return
        path = op.result
        if not path.startswith(op.path):
            return  # another node's path: said already
        self.must_not_be(path, op)
        self.present[path] = op
        self.creators[path] = op
        self.judge_.changes["children", self.path].append(op.zxid)
        if op.sequential:
            number = int(path[-10:]) if path[-10:].isdigit() else -1
            last, other = self.sequence
            if number <= last:
                self.wrong(path, f"its number is not above {last}, which was given before", other, op)
            self.sequence = number, op

    def delete(self, op):
        if op.refused:
            self.must_not_be(op.path, op)
            return
        self.must_be(op.path, op)
        self.present.pop(op.path, None)
        self.gone.add(op.path)
        self.judge_.changes["children", self.path].append(op.zxid)

    def exists(self, op):
        if op.refused:
            self.must_not_be(op.path, op)
            return
        self.must_be(op.path, op)
        creator = self.present.get(op.path)
        if creator and creator.done and creator.zxid != op.result.czxid:
            lost = self.candidate(self.lost_creates[op.path], op) and self.candidate(self.lost_deletes[op.path], op)
            if lost:
                self.take(self.lost_creates[op.path], op)
                self.take(self.lost_deletes[op.path], op)
                self.present[op.path] = None
            else:
                self.wrong(op.path, f"it was created at {creator.zxid:#x}, not at {op.result.czxid:#x}", creator, op)

    def children(self, op):
        shown = {f"{self.path}/{name}" for name in op.result}
        for path in shown - self.present.keys():
            self.must_be(path, op)
        for path in [path for path in self.present if path not in shown]:
            self.must_not_be(path, op)
        for path in shown:
            creator = self.creators.get(path)
            if creator and creator.ephemeral:
                session = self.judge_.history.sessions.get(creator.session)
                if session and session.expired and op.synced and op.synced > session.expired:
                    self.wrong(path, "it is there after its session was called expired", creator, op)

    def close(self, op):
        """The session's ephemerals go with it."""
        for path, creator in list(self.present.items()):
            if creator and creator.ephemeral and creator.session == op.session:
                del self.present[path]
                self.gone.add(path)
                self.judge_.changes["children", self.path].append(op.zxid)

    @staticmethod
    def candidate(lost, op):
        return next((one for one in lost if one.sent < op.answered), None)

    def take(self, lost, op):
        one = self.candidate(lost, op)
        if one:
            lost.remove(one)
        return one

    def must_be(self, path, op):
        """It is there, or a create without an answer made it."""
        if path in self.present:
            return
        lost = self.lost_creates.get(path)
        if not lost and path[-10:].isdigit():
            lost = [one for one in self.lost_creates.get(path[:-10], ()) if one.sequential]
            lost = self.lost_creates[path[:-10]] if lost else None
        creator = self.take(lost, op) if lost else None
        if creator is None:
            text = "it is there again" if path in self.gone else "it is there, and nobody created it"
            self.wrong(path, text, self.creators.get(path), op)
        self.present[path] = creator
        if creator:
            self.creators[path] = creator

    def must_not_be(self, path, op):
        """It is not there; a delete without an answer or the end of its session has removed it."""
        if path not in self.present:
            return
        creator = self.present.pop(path)
        self.gone.add(path)
        if self.take(self.lost_deletes.get(path, []), op):
            return
        if creator and creator.ephemeral and self.may_have_ended(creator.session, op):
            return
        self.wrong(path, "it was created, nobody deleted it, and it is not there", creator, op)

    def may_have_ended(self, number, op):
        """The session got no answer at this zxid or later, and was not heard of again."""
        session = self.judge_.history.sessions.get(number)
        ended = session is None or session.expired or session.left or number in self.closes
        return ended and self.alive[number] < op.zxid
