"""A configuration has the same meaning for zabkeeper and ZooKeeper, by its parser and by its start."""
import os
import re
import subprocess

import pytest
from configuration import ask, cases
from zk import parts
from zk.server import Server, free_ports, wait_until


@pytest.fixture
def javac():
    reason = parts.missing_javac()
    if reason:
        pytest.skip(f"skipped: {reason}")


def test_recorded_answers_are_those_of_zookeeper(zabkeeper_only, java, javac, quick):
    """core/tests/configuration.rs compares zabkeeper with the same answers."""
    every = list(cases.all_cases())
    asked = [case for i, case in enumerate(every) if i < len(cases.BASES) or i % (12 if quick else 1) == 0]
    kept = [line for line in ask.ANSWERS.read_text().splitlines() if not line.startswith("#")]
    assert len(kept) == len(every), "a new case has no answer: run python3 -m configuration.ask"
    by_question = {tuple(line.split("\t")[:3]): line for line in kept}

    def without_reason(line):
        cells = line.split("\t")
        return cells if cells[3] == "ok" else cells[:4]
    for line in ask.table(asked):
        assert without_reason(line) == without_reason(by_question[tuple(line.split("\t")[:3])])


def started(impl, directory, lines, port, myid="1", words=None):
    """Starts a server with a zoo.cfg of these lines; `@` is its directory. The server may exit at once."""
    server = Server(impl, directory, {}, port)
    server.config.write_bytes(lines.replace(b"@", os.fsencode(directory)))
    (server.data / "myid").write_text(myid)
    if words:
        program = server.command()[:-1] if impl == "apache" else [str(parts.binary()), "server"]
        server.command = lambda: [*program, *words]
    return server.start()


REFUSED = [
    b"dataDir=@/data\nclientPort=x\n",
    b"dataDir=@/data\nclientPort=\n",
    b"dataDir=@/data\nmaxClientCnxns=\n",
    b"dataDir=@/data\nsyncEnabled=maybe\n",
    b"dataDir=@/data\nelectionAlg=\n",
    b"dataDir=C:\\users\\zk\nclientPort=2181\n",
    b"\xef\xbb\xbfdataDir=@/data\nclientPort=2181\n",
    b"dataDir=@/data\nclientPort=2181\nclientPortAddress=no-such-host.invalid\n",
    b"dataDir=@/data\ninitLimit=5\nsyncLimit=5\nstandaloneEnabled=false\nserver.1=127.0.0.1:0:0;2181\n",
    b"dataDir=@/data\ninitLimit=5\nsyncLimit=5\nserver.1=127.0.0.1:1:2\nserver.2=127.0.0.1:3:3\n",
    b"dataDir=@/data\ninitLimit=5\nsyncLimit=5\ndynamicConfigFile=@/missing\n",
]


@pytest.mark.parametrize("lines", REFUSED, ids=range(len(REFUSED)))
def test_invalid_configuration_exits_with_code_2(impl, tmp_path, lines):
    server = started(impl, tmp_path, lines, 0)
    try:
        assert server.process.wait(30) == 2
        if impl == "zabkeeper":
            said = server.log.read_text().strip().splitlines()
            assert len(said) == 1 and (":" in said[0]), said
            check = subprocess.run([parts.binary(), "server", "--check", server.config], capture_output=True, timeout=20)
            assert check.returncode == 2
    finally:
        server.kill()


@pytest.mark.parametrize("address, asked", [("[::1]", "::1"), ("::1", "::1"), ("[::]", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("", "127.0.0.1")])
def test_addresses_of_clients(impl, tmp_path, address, asked):
    import socket
    port, = free_ports(1)
    server = started(impl, tmp_path, f"dataDir=@/data\nclientPort={port}\nclientPortAddress={address}\n".encode(), port)
    try:
        def answers():
            with socket.create_connection((asked, port), 2) as s:
                s.sendall(b"srvr")
                return b"Mode: standalone" in s.recv(65536)

        def serves():
            try:
                return answers()
            except OSError:
                return False
        wait_until(serves, 30, "the server serves clients")
    finally:
        server.kill()


@pytest.mark.parametrize("line", ["server.1=127.0.0.1:{0}:{1}:;{2}", "server.1=:{0}:{1};{2}", "server.1=127.0.0.1:{0}:{1};{2}:\rgroup.1=1:"],
                         ids=["an empty role", "an empty host", "colons at the end, CR alone"])
def test_lines_of_common_templates(impl, tmp_path, line):
    ports = free_ports(3)
    text = "dataDir=@/data\rinitLimit=5\rsyncLimit=5\rstandaloneEnabled=false\r" + line.format(*ports) + "\r"
    server = started(impl, tmp_path, text.encode(), ports[2])
    try:
        wait_until(lambda: server.mode() == "leader", 30, "the server leads")
    finally:
        server.kill()


def test_standalone_server_from_arguments(impl, tmp_path):
    port, = free_ports(1)
    server = started(impl, tmp_path, b"", port, words=[str(port), str(tmp_path / "own"), "500"])
    try:
        wait_until(lambda: server.mode() == "standalone", 30, "the server serves clients")
        assert (tmp_path / "own" / "version-2").is_dir()
    finally:
        server.kill()


@pytest.mark.parametrize("name", ["d\u00e4ten".encode(), "\u6570\u636e".encode(), "d\u00e4ten".encode("latin-1"), b"d\\u00e4ten"],
                         ids=["UTF-8", "Chinese", "ISO-8859-1", "escaped"])
def test_both_servers_find_the_same_data_directory(zabkeeper_only, java, tmp_path, name):
    port, = free_ports(1)
    lines = b"clientPort=%d\nadmin.enableServer=false\ndataDir=@/" % port + name + b"\n"

    def made():
        return sorted(entry for entry in os.listdir(os.fsencode(tmp_path)) if os.path.isdir(os.fsencode(tmp_path) + b"/" + entry + b"/version-2"))
    directories = []
    for impl in ("apache", "zabkeeper"):
        server = started(impl, tmp_path, lines, port)
        server.within = []
        try:
            wait_until(server.mode, 30, f"{impl} serves")
        finally:
            server.terminate()
        directories.append(made())
    assert directories[0] == directories[1] and len(directories[0]) == 1
    check = subprocess.run([parts.binary(), "server", "--check", server.config], capture_output=True, text=True, timeout=20)
    assert f"dataDir is {tmp_path}/{directories[0][0].decode()}" in check.stdout.splitlines()
    assert re.search("dataDir is read as ISO-8859-1", check.stdout)


def test_reconfiguration_needs_writable_files(zabkeeper_only, tmp_path):
    reason = parts.missing_mount_namespaces()
    if reason:
        pytest.skip(f"skipped: {reason}")
    conf, data = tmp_path / "conf", tmp_path / "data"
    conf.mkdir()
    data.mkdir()
    (data / "myid").write_text("1")
    lines = f"dataDir={data}\ninitLimit=5\nsyncLimit=5\nreconfigEnabled=true\nserver.1=127.0.0.1:1:2;3\nserver.2=127.0.0.1:4:5;6\n"
    (conf / "zoo.cfg").write_text(lines)
    read_only = f"mount --bind {conf} {conf} && mount -o remount,bind,ro {conf} && exec \"$@\""
    for words in (["server"], ["server", "--check"]):
        done = subprocess.run(["unshare", "--mount", "sh", "-c", read_only, "sh", parts.binary(), *words, conf / "zoo.cfg"],
                              capture_output=True, text=True, timeout=30)
        assert done.returncode == 2, done
        assert re.search(r"zoo\.cfg: .*: with reconfigEnabled=true the configuration and its directory must be writable", done.stderr), done
    assert subprocess.run([parts.binary(), "server", "--check", conf / "zoo.cfg"], capture_output=True, timeout=20).returncode == 0
