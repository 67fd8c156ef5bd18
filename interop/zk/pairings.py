"""What the tests said about every pair of servers: pairings.json, and the table made of it."""
import json
import pathlib

KINDS = ["zabkeeper", "3.8.0", "3.9.5"]
ROLES = ["follower", "observer"]
# In the order in which one learner can go through them.
SYNCS = ["TRUNC and DIFF", "DIFF, empty", "DIFF from memory", "DIFF from the log", "TRUNC", "SNAP"]

HERE = pathlib.Path(__file__).resolve().parents[1]
RESULTS, TABLE = HERE / "pairings.json", HERE / "PAIRINGS.md"
HEAD = """# Pairings

Which leader brings which learner up to date, and how. Every cell is a test that makes this kind of
synchronisation happen, reads in the logs of both sides that it did, compares the trees to the last
field of every stat, and writes through the learner after it. 3.8.0 and 3.9.5 are Apache ZooKeeper's.

`TRUNC`: the learner's log holds what nobody else has, and is cut. `TRUNC and DIFF`: and it is sent
what is under way at that moment. `DIFF from the log`: of more transactions than a leader keeps in
memory. `SNAP`: to a server that has lost everything; of a million znodes, too.

Made by `interop/run test_pairings.py --pairings` out of what the tests said (`pairings.json`).

"""


def load():
    """(leader, learner, role, sync) → what the test said."""
    if not RESULTS.exists():
        return {}
    return {(c["leader"], c["learner"], c["role"], c["sync"]): c["result"] for c in json.loads(RESULTS.read_text())}


def note(leader, learner, results):
    """Writes down what a test said: (role, sync) → result."""
    cells = load()
    cells.update({(leader, learner, role, sync): said for (role, sync), said in results.items()})
    order = {name: i for i, name in enumerate(KINDS + ROLES + SYNCS)}
    rows = [dict(zip(("leader", "learner", "role", "sync", "result"), (*cell, said)))
            for cell, said in sorted(cells.items(), key=lambda c: [order[name] for name in c[0]])]
    RESULTS.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    TABLE.write_text(table(load()))


def table(cells):
    """The Markdown."""
    text = HEAD + "| leader | learner | role | " + " | ".join(SYNCS) + " |\n" + "|---" * (3 + len(SYNCS)) + "|\n"
    for leader in KINDS:
        for learner in KINDS:
            for role in ROLES:
                said = [cells.get((leader, learner, role, sync), "") for sync in SYNCS]
                text += f"| {leader} | {learner} | {role} | " + " | ".join(said) + " |\n"
    return text
