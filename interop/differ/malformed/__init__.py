"""Frames that no client library sends, and what Apache ZooKeeper 3.9.5 does with each.

The `*.txt` files beside this hold them as hexadecimal text; README.md says how to read them."""
from dataclasses import dataclass, field
import pathlib
import re
import struct
import time
import zlib

from ..jute import Reader
from ..socket_client import CLOSED, SILENT, Connection

HERE = pathlib.Path(__file__).parent
HANDSHAKE = bytes.fromhex("0000002d 00000000 0000000000000000 00007530 0000000000000000 00000010") + bytes(17)
PING = bytes.fromhex("00000008 fffffffe 0000000b")
ANSWER_S = 5.0
QUIET_S = 0.3


@dataclass
class Example:
    name: str
    steps: list = field(default_factory=list)      # bytes to send, or a word
    apache: list = field(default_factory=list)     # what ZooKeeper answers
    zabkeeper: list = field(default_factory=list)  # what is answered here, if it differs


def read_all():
    """Name → Example, of every file."""
    found = {}
    for file in sorted(HERE.glob("*.txt")):
        for example in read(file):
            assert example.name not in found, f"{file}: {example.name} is there twice"
            found[example.name] = example
    return found


def read(file):
    example = None
    for number, line in enumerate(file.read_text().splitlines(), 1):
        text = line.split("#")[0].strip()
        if not text:
            continue
        if text.startswith("["):
            example = Example(text.strip("[]"))
            yield example
        elif text[0] in "<!":
            (example.apache if text[0] == "<" else example.zabkeeper).append(text[1:].strip())
        elif text in ("connect", "ping", "wait", "end"):
            example.steps.append(text)
        else:
            try:
                example.steps.append(to_bytes(text))
            except ValueError as error:
                raise ValueError(f"{file}:{number}: {error}") from None


def to_bytes(text):
    """`00ff "text" 100*00`."""
    out = b""
    for quoted, times, plain in re.findall(r'"([^"]*)"|(?:(\d+)\*)?(\S+)', text):
        out += quoted.encode() if not plain else bytes.fromhex(plain) * int(times or 1)
    return out


def answers(example, port, expected=None):
    """What the server at a port answers: its frames as text, then whether it closed."""
    connection, seen = Connection(port, ANSWER_S), []
    # How long to wait for what is not known to come.
    patience = QUIET_S if expected is None or expected[-1] == "silent" else ANSWER_S
    if any(len(step) > 100_000 for step in example.steps):
        patience = ANSWER_S

    def read(until):
        """Reads so many answers in all; whether it was closed, or SILENT."""
        while until is None or len(seen) < until:
            data = connection.frame(patience)
            if data is SILENT or data is CLOSED:
                return data
            seen.append(shown(data))
        return None
    try:
        for step in example.steps:
            if step == "connect":
                connection.send(HANDSHAKE)
                connection.frame()
            elif step == "wait":
                time.sleep(0.1)
            elif step == "end":
                connection.finish_sending()
            elif step == "ping":
                # Not on the heels of a request that ends the connection.
                end = read(None if expected is None else len(expected) - 1)
                if end is CLOSED:
                    return [*seen, "closed"]
                connection.send(PING)
                count, patience = len(seen), patience if expected else 1.5
                end = read(count + 1)
                if end is None and seen[count].startswith(PING[4:8].hex()):
                    return [*seen[:count], "open"]
                return [*seen, "closed" if end is CLOSED else "silent"]
            else:
                connection.send(step)
        end = read(None)
        if connection.rest():
            seen.append("text " + connection.rest().decode("ascii", "replace").strip())
        return [*seen, "silent" if end is SILENT else "closed"]
    finally:
        connection.close()


def shown(data):
    """A frame as text, with words for what no two servers have in common."""
    if len(data) in (36, 37) and data[:4] == bytes(4) and data[16:20] == b"\0\0\0\x10":
        reader = Reader(data)
        version, timeout, session = reader.i32(), reader.i32(), reader.i64()
        if session:
            return f"{version:08x} {timeout:08x} session password {data[36:].hex()}".strip()
    if len(data) < 16:
        return data.hex()
    xid, zxid, error = struct.unpack(">IqI", data[:16])
    named = "zxid" if zxid > 0 else f"{zxid & (1 << 64) - 1:016x}"
    body = data[16:].hex() if len(data) < 200 else f"{len(data) - 16} bytes of CRC-32 {zlib.crc32(data[16:]):08x}"
    return f"{xid:08x} {named} {error:08x} {body}".strip()


def record(both):
    """Writes down what the two servers answer: `<` is Apache ZooKeeper's, `!` ours if it differs."""
    for file in sorted(HERE.glob("*.txt")):
        examples = {example.name: example for example in read(file)}
        out, name = [], None

        def finish():
            if name is None:
                return
            while out[-1] == "":
                out.pop()
            apache, zabkeeper = (answers(examples[name], server.client_port) for server in both)
            out.extend(f"< {line}" for line in apache)
            if apache != zabkeeper:
                out.extend(f"! {line}" for line in zabkeeper)
            out.append("")
        for line in file.read_text().splitlines():
            if line.startswith("["):
                finish()
                name = line.strip("[]")
            if line[:1] not in ("<", "!"):
                out.append(line)
        finish()
        file.write_text("\n".join(out).rstrip() + "\n")
