"""What clients did and were told: the history that `checker` judges."""
import dataclasses
import itertools

OK, NO_NODE, BAD_VERSION, NODE_EXISTS, SESSION_EXPIRED, SESSION_MOVED = 0, -101, -103, -110, -112, -118
INCONSISTENT = -2  # an operation of a multi that failed for another's sake
NODE_DATA_CHANGED, NODE_CHILDREN_CHANGED = 3, 4
WRITES = {"create", "set", "delete", "multi", "close"}


@dataclasses.dataclass(slots=True, eq=False)
class Operation:
    """A request; `answered` is None if its answer was not received. Times are of one clock."""
    kind: str  # create, set, delete, check, multi, get, exists, children, sync, watches, close
    path: str = ""
    value: bytes = b""
    version: int = -1  # that the node must have
    sequential: bool = False
    ephemeral: bool = False
    watch: bool = False
    parts: list = dataclasses.field(default_factory=list)  # of a multi
    paths: list = dataclasses.field(default_factory=list)  # of watches: (kind, path)
    session: int = 0
    connection: int = 0
    xid: int = 0
    member: int = 0
    sent: float = 0.0
    synced: float | None = None  # when the sync just before it on its connection was sent
    answered: float | None = None
    place: int = -1  # of the answer among all that arrived on its connection
    error: int = 0
    zxid: int = 0
    result: object = None  # create: path; set, exists: Stat; get: (data, Stat); children: names

    @property
    def done(self):
        """It was answered, without an error."""
        return self.answered is not None and self.error == OK

    @property
    def refused(self):
        return self.answered is not None and self.error != OK

    def asked(self):
        what = ", ".join(part.asked() for part in self.parts) or f"{self.path} {self.value.decode()!r}"
        flags = "".join(f" {name}" for name in ("sequential", "ephemeral", "watch") if getattr(self, name))
        return f"{self.kind} {what}{flags}" + (f" if version {self.version}" if self.version != -1 else "")

    def told(self):
        if self.answered is None:
            return "no answer"
        results = [one for one in (self.result, *(part.error or part.result for part in self.parts)) if one is not None]
        shown = [f"{len(one)} children" if isinstance(one, frozenset) else str(one) for one in results]
        return f"after {self.answered - self.sent:.4f} s error {self.error} zxid {self.zxid:#x} {', '.join(shown)}"

    def __str__(self):
        synced = " after a sync" if self.synced is not None else ""
        return (f"{self.sent:10.4f} session {self.session:#x} member {self.member} connection {self.connection} "
                f"xid {self.xid}: {self.asked()}{synced}: {self.told()}")


@dataclasses.dataclass(slots=True, frozen=True, repr=False)
class Stat:
    czxid: int
    mzxid: int
    version: int
    owner: int = 0

    def __repr__(self):
        return f"(czxid {self.czxid:#x} mzxid {self.mzxid:#x} version {self.version})"


@dataclasses.dataclass(slots=True, eq=False)
class Event:
    """A watch's event, as it arrived on a connection."""
    session: int
    connection: int
    place: int
    at: float
    kind: int
    path: str
    zxid: int = -1

    def __str__(self):
        return (f"{self.at:10.4f} session {self.session:#x} connection {self.connection}: event {self.kind} {self.path} "
                f"zxid {self.zxid:#x}")


@dataclasses.dataclass(slots=True, eq=False)
class Session:
    number: int
    timeout: float  # seconds
    connections: list = dataclasses.field(default_factory=list)  # in order
    heard: float = 0.0  # when the last request that was answered was sent
    expired: float | None = None  # when it was told so
    left: float | None = None  # when its client gave it up without closing it


class History:
    """Everything of one round. Threads append to the lists."""

    def __init__(self):
        self.operations, self.events, self.sessions = [], [], {}
        self.strays = []  # (operation that was waited for, what came)
        self.stuck = []  # what did not come to pass in time
        self.connections = itertools.count(1)
