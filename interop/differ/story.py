"""A sequence: what is done on which of the connections, in an order that makes it the same twice.

Items of one burst are sent together on one connection; between bursts all that has happened has
been told to everyone."""
from dataclasses import dataclass, field

from . import requests


@dataclass
class Connect:
    """A new connection in a slot, for a new session or one of an earlier connect.

    `session`: None, or the slot whose session is wanted, or "none such". `password`: "right",
    "wrong", "short", "null". `read_only`: None as clients of 3.3 and before, without the byte.
    `seen`: how many zxids back the client last was; None: never; "future"."""
    slot: int
    session: object = None
    password: str = "right"
    timeout: int = 600_000
    read_only: object = False
    seen: object = None
    version: int = 0
    keep: bool = field(default=False, repr=False)


@dataclass
class Drop:
    """The client's end of a connection goes without a word; the session stays."""
    slot: int
    keep: bool = False


@dataclass
class Do:
    """One request, in the burst of that number."""
    burst: int
    slot: int
    op: requests.Op
    keep: bool = False

    def __repr__(self):
        return f"[{self.slot}] {self.op!r}"


class Story:
    """Writes a sequence down."""

    def __init__(self, prefix):
        self.prefix, self.items, self.bursts = prefix, [], 0

    def connect(self, slot=0, **how):
        self.items.append(Connect(slot, **how))
        return self

    def drop(self, slot=0):
        self.items.append(Drop(slot))
        return self

    def together(self, slot, *ops):
        """One burst."""
        self.bursts += 1
        self.items += [Do(self.bursts, slot, op) for op in ops]
        return self

    def do(self, slot, *ops):
        """One after the other."""
        for op in ops:
            self.together(slot, op)
        return self

    def begin(self, slots=1):
        """Connects, and makes the sequence's own folder; what every sequence keeps."""
        for slot in range(slots):
            self.connect(slot)
        self.do(0, requests.create(self.prefix))
        for item in self.items:
            item.keep = True
        return self


def steps(items):
    """The items, those of one burst as a list."""
    out = []
    for item in items:
        if isinstance(item, Do) and out and isinstance(out[-1], list) and out[-1][0].burst == item.burst:
            out[-1].append(item)
        else:
            out.append([item] if isinstance(item, Do) else item)
    return out
