"""Garbage on every port does not disturb a working client."""
import random
import socket
import struct
import threading
import time

import pytest

from zk.ensemble import Ensemble
from zk.raw import Raw

HTTP = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(200)

pytestmark = pytest.mark.both


def junk(rng):
    """The first bytes of a hostile connection."""
    return rng.choice([
        lambda: rng.randbytes(rng.randrange(1, 4000)),
        lambda: struct.pack(">i", 0x7FFFFFFF) + b"x" * 100,
        lambda: struct.pack(">i", -1) + b"x" * 100,
        lambda: struct.pack(">i", -0x80000000),
        lambda: struct.pack(">i", 1000) + b"half",
        lambda: struct.pack(">q", -65536) + struct.pack(">q", rng.randrange(-5, 10)) + struct.pack(">i", 0x7FFFFFFF),
        lambda: struct.pack(">q", -65536) + struct.pack(">q", 2) + struct.pack(">i", 9) + b"localhost",
        lambda: struct.pack(">iqi", rng.randrange(0, 25), -1, 0x7FFFFFF0),
        lambda: struct.pack(">iqii", 11, 0, -1, 0x7FFFFFFF),
        lambda: struct.pack(">iqi", 11, 0, 20) + struct.pack(">qiq", 99, 0x10000, 0) + struct.pack(">i", -1),
        lambda: struct.pack(">i", 45) + struct.pack(">iqiqi", 0, 0, 10000, 0, 16) + bytes(17),
        lambda: struct.pack(">i", 45) + struct.pack(">iqiqi", 0, 0, 10000, 0, 0x7FFFFFFF) + bytes(17),
        lambda: HTTP,
        lambda: TLS_HELLO,
        lambda: b"",
    ])()


def storm(port, seed, count):
    rng = random.Random(seed)
    for _ in range(count):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as s:
                s.sendall(junk(rng))
                if rng.random() < 0.3:
                    s.settimeout(0.05)
                    try:
                        s.recv(1000)
                    except OSError:
                        pass
        except OSError:
            pass


def connect_idle(ports, count):
    """Connections that never send a byte; a follower may not listen on its quorum port."""
    idle = []
    for i in range(count):
        try:
            idle.append(socket.create_connection(("127.0.0.1", ports[i % len(ports)])))
        except ConnectionRefusedError:
            pass
    return idle


def test_garbage_does_not_disturb_a_client(impl, zabkeeper_only, quick, tmp_path):
    with Ensemble(impl, tmp_path, maxClientCnxns=0) as ensemble:
        leader = ensemble.leader().sid
        ports = [s.client_port for s in ensemble.servers] + ensemble.quorum_ports + ensemble.election_ports
        client = Raw(ensemble.servers[0].client_port, timeout=5.0)
        client.create("/garbage", b"0")
        idle = connect_idle(ports, 500)
        failures, done, slowest, worked = [], threading.Event(), [0.0], [0]

        def work():
            n = 0
            while not done.is_set():
                n += 1
                started = time.monotonic()
                try:
                    error = client.set("/garbage", str(n).encode())
                    got = client.get("/garbage")
                except (OSError, EOFError) as lost:
                    failures.append((n, lost))
                    return
                slowest[0] = max(slowest[0], time.monotonic() - started)
                worked[0] = n
                if error or got != (0, str(n).encode()):
                    failures.append((n, error, got))

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        count = 150 if quick else 600

        def wave(seed):
            threads = [threading.Thread(target=storm, args=(p, seed + i, count)) for i, p in enumerate(ports)]
            for t in threads:
                t.start()
            for t in threads:
                t.join(120)

        wave(1)
        before, at_half = [s.rss_kib() for s in ensemble.servers], worked[0]
        wave(1000)
        after = [s.rss_kib() for s in ensemble.servers]
        done.set()
        worker.join(10)
        for s in idle:
            s.close()
        assert not failures, failures[:3]
        assert worked[0] > at_half > 0, "the client made no progress during the garbage"
        assert not worker.is_alive()
        assert all(s.running() for s in ensemble.servers), "a member has exited"
        assert ensemble.leader().sid == leader, "the garbage changed the leader"
        print(f"\n{impl}: RSS {before} → {after} KiB, slowest write and read {slowest[0] * 1000:.0f} ms")
        grown = [b - a for a, b in zip(before, after)]
        assert all(g < 16 * 1024 for g in grown), f"memory grew by {grown} KiB"
