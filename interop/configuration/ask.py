"""Asks ZooKeeper about every case (`cases.py`) and writes core/testdata/configuration.tsv: `python3 -m configuration.ask`."""
import pathlib
import re
import subprocess
import sys
import tempfile

from configuration import cases
from zk import parts

HERE = pathlib.Path(__file__).parent
ANSWERS = HERE.parents[1] / "core" / "testdata" / "configuration.tsv"
HEAD = """\
# What Apache ZooKeeper 3.9.5 makes of a configuration: written by `python3 -m configuration.ask` in interop/, which asks it.
# base, lines, JVM flags, outcome, then what counts where it differs from the row of the base alone (bare: of `alone`; one, dynamic: of `member`); percent-encoded.
# ok: it would start. refused: it ends with code 2. fails: it ends later in the start.
"""


def encode(text):
    """Readable where it can be: everything but printable ASCII and `%` as `%XX`."""
    return re.sub(rb"[^ -~]|%", lambda found: b"%%%02X" % found[0][0], text).decode("ascii")


def joined(flags):
    """JVM flags, parted by blanks."""
    return " ".join(encode(flag.encode("latin-1")).replace(" ", "%20") for flag in flags)


def question(base, text, flags):
    """One line of Ask's input: the two files and the flags."""
    static, dynamic = (cases.BASES[base], text) if base == "dynamic" else (cases.BASES[base] + text, None)
    return f"{encode(static)}\t{'-' if dynamic is None else encode(dynamic)}\t{joined(flags)}"


def ask(questions):
    """The answers of a ZooKeeper, one for each case: outcome and what counts."""
    jars = [jar for jar in sorted((parts.CACHE / "jars").glob("*.jar")) if not re.search("log4j|curator", jar.name)]
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        (scratch / "home").mkdir()
        subprocess.run(["javac", "-nowarn", "-d", scratch, HERE / "Ask.java"], check=True)
        done = subprocess.run(["java", "-XX:+UseSerialGC", "-Xmx384m", "-Duser.language=en", "-cp", scratch, "Ask", scratch / "home",
                               ":".join(map(str, jars))], input="".join(question(*one) + "\n" for one in questions),
                              env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin:/usr/local/bin"}, capture_output=True, text=True, check=True)
    answers = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(answers) == len(questions), done.stderr[-2000:]
    return answers


def rows(questions, answers):
    """The lines of the table: of an accepted case only what differs from the row that it is compared with."""
    plain = {}
    for (base, text, flags), (outcome, *values) in zip(questions, answers):
        if outcome == "ok":
            known = plain.get(cases.COMPARED.get(base, base))
            if known is None:
                plain[base] = frozenset(values)
            values = [value for value in values if value not in (known or ())]
        yield "\t".join([base, encode(text), joined(flags), outcome, *values])


def table(questions):
    return list(rows(questions, ask(questions)))


if __name__ == "__main__":
    every = list(cases.all_cases())
    ANSWERS.parent.mkdir(exist_ok=True)
    ANSWERS.write_text(HEAD + "\n".join(table(every)) + "\n")
    print(f"{len(every)} cases: {ANSWERS}", file=sys.stderr)
