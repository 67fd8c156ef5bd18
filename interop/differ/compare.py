"""The same sequence on two servers: the first difference, or none."""
from dataclasses import dataclass

from .drive import Side, in_path_order, makes_others_hear
from .requests import CODES
from .story import Connect, Drop, steps


@dataclass
class Difference:
    at: int            # the step
    step: object
    slot: int
    seen: list         # what the slot saw in this step, on each server
    items: list        # the whole sequence

    def __str__(self):
        lines = [f"step {self.at}: {self.step}", f"  connection {self.slot} saw differently"]
        first = first_different(*self.seen)
        for name, seen in zip(("apache", "zabkeeper"), self.seen):
            lines.append(f"  {name}:")
            lines += [f"    {'>' if i == first else ' '} {one}" for i, one in enumerate(seen)
                      if first - 3 <= i <= first + 2] or ["    (nothing)"]
            if first >= len(seen):
                lines.append("    > (nothing more)")
        return "\n".join(lines)


def first_different(a, b):
    for at, (x, y) in enumerate(zip(a, b)):
        if x.form != y.form:
            return at
    return min(len(a), len(b))


def run(items, ports):
    """Runs the sequence on both servers; the first Difference, or None."""
    sides = [Side(port) for port in ports]
    try:
        for at, step in enumerate(steps(items)):
            for side in sides:
                side.begin(step)
            results = [side.finish(step) for side in sides]
            if makes_others_hear(step):
                besides = step.slot if isinstance(step, Connect) else step[0].slot
                for side in sides:
                    side.listen(besides)
                for side, result in zip(sides, results):
                    result.update(side.heard(besides))
            found = differ(step, results)
            if found is not None:
                slot, seen = found
                return Difference(at, step, slot, seen, items)
        return None
    finally:
        for side in sides:
            side.end()


def differ(step, results):
    a, b = results
    closes = isinstance(step, list) and step[-1].op.code == CODES["closeSession"]
    for slot in sorted(a.keys() | b.keys()):
        seen = [result.get(slot, []) for result in results]
        if closes:
            seen = [in_path_order(one) for one in seen]
        ours = [one.form for one in seen[1]]
        if ours != [one.form for one in seen[0] if not is_kept_secret(one, ours)]:
            return slot, seen
    return None


def is_kept_secret(event, ours):
    """An event that setWatches catches up with, of a node that the client may not read: ours does not
    tell it."""
    return str(event).startswith("event xid=-1 zxid=-0x1 ") and event.form not in ours


def shrink(make, ports, first, budget=400):
    """The shortest sequence found that still differs. `make(prefix_number)` gives the items, always
    the same but for the folder they are in."""
    items = first.items
    kept = list(range(len(items)))
    # Nothing after the step that differed matters.
    last = steps(items)[first.at]
    if not isinstance(last, (Connect, Drop)):
        last = last[-1]
    kept = kept[:next(i for i, item in enumerate(items) if item is last) + 1]
    best, tries = first, 0

    def attempt(indices):
        nonlocal tries
        tries += 1
        all_items = make(tries)
        return run([all_items[i] for i in indices], ports)

    size = max(1, len(kept) // 2)
    while size >= 1 and tries < budget:
        at, dropped = 0, False
        while at < len(kept) and tries < budget:
            candidate = kept[:at] + [i for i in kept[at:at + size] if items[i].keep] + kept[at + size:]
            if len(candidate) == len(kept):
                at += size
                continue
            found = attempt(candidate)
            if found is not None:
                kept, best, dropped = candidate, found, True
            else:
                at += size
        if size == 1 and not dropped:
            break
        size = max(1, size // 2) if not dropped or size > 1 else 1
    return best
