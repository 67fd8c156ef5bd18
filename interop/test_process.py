"""An unread log, clients that use all file descriptors and signals do not stop a server; and the modes of its
files."""
import os
import resource
import signal
import socket
import stat
import struct
import subprocess
import time

import pytest

from kazoo.client import KazooClient
from zk import parts
from zk.ensemble import Ensemble
from zk.server import Server, four_letters, free_ports, wait_until

pytestmark = [pytest.mark.both, pytest.mark.usefixtures("zabkeeper_only")]


def command(tmp_path, **settings):
    """The command line of a standalone server, and its port."""
    port, = free_ports(1)
    config = tmp_path / "zoo.cfg"
    config.write_text(f"dataDir={tmp_path}/data\nclientPort={port}\n4lw.commands.whitelist=*\n"
                      + "".join(f"{k}={v}\n" for k, v in settings.items()))
    return [str(parts.binary()), "server", str(config)], port


def stopped(process):
    process.send_signal(signal.SIGTERM)
    return process.wait(20)


def handshake():
    body = struct.pack(">iqiq", 0, 0, 40000, 0) + struct.pack(">i", 16) + bytes(16) + b"\0"
    return struct.pack(">i", len(body)) + body


def provoke(port, count):
    """Opens connections that cause log lines."""
    for _ in range(count):
        try:
            with socket.create_connection(("127.0.0.1", port), 2) as c:
                c.sendall(b"\xff" * 32)
        except OSError:
            pass


def figure(port, name):
    for line in four_letters(port, "mntr").splitlines():
        key, _, value = line.partition("\t")
        if key == name:
            return int(value)
    return None


@pytest.mark.parametrize("reader", ["gone", "asleep", "full"])
def test_unread_log_does_not_block_the_server(tmp_path, reader):
    line, port = command(tmp_path)
    if reader == "full":
        out, into = None, open("/dev/full", "wb", buffering=0)
    else:
        out, writer = os.pipe()
        into = os.fdopen(writer, "wb", buffering=0)
    # At the level debug, the log soon exceeds the capacity of the pipe and the buffer.
    process = subprocess.Popen([*line, "--log", "debug"], stdout=into, stderr=into)
    into.close()
    try:
        wait_until(lambda: "imok" in four_letters(port, "ruok"), 20, "the server serves clients")
        if reader == "gone":
            os.close(out)
        provoke(port, 20)
        client = KazooClient(hosts=f"127.0.0.1:{port}")
        client.start(timeout=10)
        data = b"x" * 1000
        client.create("/a", data)

        def dropped():
            # Each request causes a debug line.
            for _ in range(1000):
                four_letters(port, "ruok")
            return figure(port, "zk_log_lines_dropped")
        assert wait_until(dropped, 60, "lines are dropped and counted") > 0
        client.stop()
        client.close()
        assert process.poll() is None
        if reader == "asleep":
            # A reader that resumes finds the buffered lines and the number of dropped ones.
            os.set_blocking(out, False)
            received = bytearray()

            def has_count():
                try:
                    received.extend(os.read(out, 1 << 20))
                except BlockingIOError:
                    pass
                return b"log lines dropped" in received
            wait_until(has_count, 20, "the number of dropped lines is logged")
            os.set_blocking(out, True)
        assert stopped(process) == 0
    finally:
        process.kill()
        process.wait()
        if out is not None and reader != "gone":
            os.close(out)


def test_dev_continues_after_its_reader_has_gone(tmp_path):
    port, = free_ports(1)
    out, into = os.pipe()
    os.close(out)
    process = subprocess.Popen([parts.binary(), "dev", "--nodes", "1", "--client-port", str(port)], stdout=into, stderr=into,
                               env={**os.environ, "TMPDIR": str(tmp_path)})
    os.close(into)
    try:
        wait_until(lambda: "imok" in four_letters(port, "ruok"), 20, "the server serves clients")
        provoke(port, 5)
        assert "imok" in four_letters(port, "ruok") and process.poll() is None
        assert stopped(process) == 0
    finally:
        process.kill()
        process.wait()


def test_log_lines_caused_by_clients_are_rate_limited(tmp_path):
    line, port = command(tmp_path, maxClientCnxns=3)
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(line, stdout=log, stderr=log)
    try:
        wait_until(lambda: "imok" in four_letters(port, "ruok"), 20, "the server serves clients")
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        before = (tmp_path / "log").stat().st_size
        began = time.monotonic()
        for _ in range(3000):
            with socket.create_connection(("127.0.0.1", port)):
                pass
        seconds = time.monotonic() - began + 2

        def text():
            return (tmp_path / "log").read_text()
        wait_until(lambda: "similar lines suppressed" in text(), 20, "the suppressed lines are counted")
        assert "Too many connections from /127.0.0.1 - max is 3: maxClientCnxns" in text()
        # Two kinds, six lines of each per second.
        assert (tmp_path / "log").stat().st_size - before < seconds * 2 * 6 * 250, text()[-2000:]
        for one in held:
            one.close()
        assert stopped(process) == 0
    finally:
        process.kill()
        process.wait()


def test_descriptors_are_reserved_for_the_servers(tmp_path):
    ensemble = Ensemble("zabkeeper", tmp_path, 3, snapCount=100)
    for server in ensemble.servers:
        server.within = ["prlimit", "--nofile=256:256"]
    with ensemble:
        ensemble.leader()
        clients = [KazooClient(hosts=server.address) for server in ensemble.servers]
        for client in clients:
            client.start(timeout=10)
        held = []
        for server in ensemble.servers:
            for _ in range(400):
                one = socket.socket()
                one.settimeout(2)
                try:
                    one.connect(("127.0.0.1", server.client_port))
                    one.sendall(handshake())
                    held.append(one)
                except OSError:
                    one.close()
        clients[0].create("/a", b"")
        # The logs roll, snapshots are taken, and no server ends.
        for n in range(400):
            clients[n % 3].set("/a", b"%d" % n)
        assert all(server.running() for server in ensemble.servers)
        assert any("ulimit -n, LimitNOFILE" in server.log.read_text() for server in ensemble.servers)
        for one in held:
            one.close()
        # A restarted server rejoins the ensemble.
        follower = ensemble.servers[0]
        follower.kill()
        follower.start()
        wait_until(follower.mode, 20, "the server serves clients again")
        assert clients[1].get("/a")[0] == b"399"
        for client in clients:
            client.stop()
            client.close()


def test_soft_limit_of_descriptors_is_raised(tmp_path):
    line, port = command(tmp_path)
    soft, hard = 128, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    process = subprocess.Popen(["prlimit", f"--nofile={soft}:", *line], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: "imok" in four_letters(port, "ruok"), 20, "the server serves clients")
        assert wait_until(lambda: figure(port, "zk_max_file_descriptor_count"), 10, "the limit is reported") == hard
    finally:
        process.kill()
        process.wait()


def test_signals(tmp_path):
    """SIGQUIT logs the state and the server continues. SIGHUP, and SIGTERM any number of times, stop it in order."""
    for names in [["SIGQUIT"], ["SIGHUP"], ["SIGTERM", "SIGTERM"], ["SIGTERM", "SIGHUP", "SIGTERM"]]:
        line, port = command(tmp_path)
        with open(tmp_path / "log", "wb") as log:
            process = subprocess.Popen(["env", "--default-signal=QUIT,HUP,INT", *line], stdout=log, stderr=log)
        try:
            wait_until(lambda: "imok" in four_letters(port, "ruok"), 20, "the server serves clients")
            for name in names:
                process.send_signal(getattr(signal, name))
            if names == ["SIGQUIT"]:
                def text():
                    return (tmp_path / "log").read_text()
                wait_until(lambda: "disk thread:" in text(), 20, "the state is logged")
                for part in ("role=Standalone", "zxid=0x", "clients=", "threads: ", "epoch="):
                    assert part in text(), part
                assert process.poll() is None and "imok" in four_letters(port, "ruok")
                assert stopped(process) == 0
            assert process.wait(20) == 0, names
        finally:
            process.kill()
            process.wait()


def test_ignored_sighup_stays_ignored(tmp_path):
    line, port = command(tmp_path)
    process = subprocess.Popen(["env", "--ignore-signal=HUP", *line], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: "imok" in four_letters(port, "ruok"), 20, "the server serves clients")
        process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert process.poll() is None and "imok" in four_letters(port, "ruok")
        assert stopped(process) == 0
    finally:
        process.kill()
        process.wait()


def test_new_files_are_private_and_existing_modes_are_kept(tmp_path):
    port, = free_ports(1)
    tmp_path.chmod(0o755)
    settings = {"dataDir": tmp_path / "new" / "data", "dataLogDir": tmp_path / "log", "clientPort": port, "snapCount": 3}
    server = Server("zabkeeper", tmp_path, settings, port)
    (tmp_path / "log").mkdir()
    (tmp_path / "log").chmod(0o755)
    server.options = ["--record", str(tmp_path / "journal")]
    server.start()
    try:
        wait_until(server.mode, 20, "the server serves clients")
        client = KazooClient(hosts=server.address)
        client.start(timeout=10)
        client.create("/a", b"x")
        for n in range(20):
            client.set("/a", b"%d" % n)
        client.stop()
        client.close()
        assert server.terminate() == 0
    finally:
        server.kill()
    made = [p for place in ("new", "log") for p in (tmp_path / place).rglob("*")] + list(tmp_path.glob("journal*"))
    names = {p.name.split(".")[0] for p in made}
    assert {"version-2", "log", "snapshot", "zabkeeper", "journal"} <= names, names
    for path in [tmp_path / "new", *made]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), (path, oct(mode))
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o755


def test_full_disk_is_reported_at_the_start(tmp_path):
    reason = parts.missing_mount_namespaces()
    if reason:
        pytest.skip(f"skipped: {reason}")
    line, _ = command(tmp_path)
    (tmp_path / "data").mkdir()
    script = f"mount -t tmpfs -o size=64k none {tmp_path}/data && head -c 60000 /dev/zero > {tmp_path}/data/full; exec \"$@\""
    within = ["unshare", "--mount", "sh", "-c", script, "sh"]
    done = subprocess.run([*within, *line], capture_output=True, text=True, timeout=20)
    assert done.returncode == 10, done
    assert "free space in the file system" in done.stderr and "serving clients" not in done.stderr, done.stderr
