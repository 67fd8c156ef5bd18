"""The command line of zabkeeper: messages, exit codes, signals, `dev`."""
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

from kazoo.client import KazooClient
from zk import parts
from zk.server import Server, free_ports, wait_until

pytestmark = [pytest.mark.both, pytest.mark.usefixtures("zabkeeper_only")]


def run(*arguments):
    return subprocess.run([parts.binary(), *arguments], capture_output=True, text=True, timeout=20)


def test_bad_configuration_is_one_line_and_exit_code_2(tmp_path):
    for text, expected in [
        ("dataDir=/d\ntickTime=abc\n", r":2: tickTime=abc: expected a whole number of milliseconds, 1 or more"),
        ("clientPort=1\n", r": dataDir is missing: expected a directory"),
        (f"dataDir={tmp_path}\nserver.1=a:1\n", r":2: server.1=a:1: expected host:quorumPort"),
        (f"dataDir={tmp_path}\nsecureClientPort=2281\n", r":2: secureClientPort=2281 is not supported yet"),
        (f"dataDir={tmp_path}\ninitLimit=1\nsyncLimit=1\nserver.1=a:1:2\nserver.2=b:1:2\n",
         r"myid: the file is missing: expected one of the ids 1, 2"),
    ]:
        config = tmp_path / "zoo.cfg"
        config.write_text(text)
        done = run("server", str(config))
        assert done.returncode == 2, done
        assert re.search(expected, done.stderr), done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_check_reports_the_configuration_without_starting(tmp_path):
    data, config = tmp_path / "data", tmp_path / "zoo.cfg"
    data.mkdir()
    (data / "myid").write_text("2\n")
    members = "".join(f"server.{i}=host{i}:2888:3888\n" for i in (1, 2, 3))
    config.write_text(f"dataDir={data}\ninitLimit=5\nsyncLimit=2\n{members}flushDelay=5\n")
    environment = {**os.environ, "SERVER_JVMFLAGS": "-Xmx1g -Dzookeeper.maxBatchSize=10", "JVMFLAGS": ""}

    def check(*arguments, **variables):
        return subprocess.run([parts.binary(), "server", "--check", *arguments, str(config)], capture_output=True,
                              text=True, timeout=20, env={**environment, **variables})
    done = check()
    assert done.returncode == 0, done
    assert done.stdout.splitlines() == [
        f"{config}:7: flushDelay has no effect here",
        f"{config}: no clientPort: no client can connect",
        "system property (-D, SERVER_JVMFLAGS or JVMFLAGS): maxBatchSize has no effect here",
        f"dataDir is {data}",
        "server 2 of an ensemble of 3"], done.stdout
    assert sorted(p.name for p in data.iterdir()) == ["myid"], "--check writes nothing"
    for arguments, variables in [(["-Dzookeeper.snapCount=many"], {}), ([], {"JVMFLAGS": "-Dzookeeper.snapCount=many"})]:
        done = check(*arguments, **variables)
        assert done.returncode == 0, done
        warning = "snapCount=many is not a number: 100000 is used, as in ZooKeeper"
        assert f"system property (-D, SERVER_JVMFLAGS or JVMFLAGS): {warning}" in done.stdout.splitlines(), done.stdout
    done = check("-Dzookeeper.DigestAuthenticationProvider.digestAlg=rot13")
    assert done.returncode == 2, done
    assert "system property" in done.stderr and "digestAlg=rot13: expected SHA1, SHA-224" in done.stderr, done.stderr


def test_java_system_properties_are_read(tmp_path):
    port, = free_ports(1)
    server = Server("zabkeeper", tmp_path, {"dataDir": tmp_path / "data", "clientPort": port}, port)
    server.options = ["-Dzookeeper.4lw.commands.whitelist=ruok", "-Dzookeeper.clientPort=1"]
    server.start()
    try:
        wait_until(server.mode, 10, "the server serves clients")
        assert server.words("ruok") == "imok" and "not in the whitelist" in server.words("mntr")
    finally:
        server.kill()


def test_a_missing_file_and_a_bad_command_are_exit_code_2(tmp_path):
    assert run("server", str(tmp_path / "none.cfg")).returncode == 2
    assert run("serve").returncode == 2
    assert run("--help").returncode == 0 and "server" in run("--help").stdout


def test_autocreate_decides_about_a_missing_data_directory(tmp_path):
    config = tmp_path / "zoo.cfg"
    config.write_text(f"dataDir={tmp_path}/none\nclientPort=1\ndatadir.autocreate=false\n")
    done = run("server", str(config))
    assert done.returncode == 3 and not (tmp_path / "none").exists(), done
    assert "datadir.autocreate is false: create it" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_data_survives_sigterm(tmp_path):
    (port,) = free_ports(1)
    server = Server("zabkeeper", tmp_path, {"dataDir": tmp_path / "data", "clientPort": port}, port)
    server.start()
    wait_until(server.mode, 10, "the server serves clients")
    client = KazooClient(hosts=server.address)
    client.start(timeout=10)
    client.create("/kept", b"x")
    client.stop()
    client.close()
    assert server.terminate() == 0
    server.start()
    wait_until(server.mode, 10, "the server serves clients again")
    client.start(timeout=10)
    assert client.get("/kept")[0] == b"x"
    client.stop()
    server.kill()


def test_two_servers_cannot_share_a_data_directory(tmp_path):
    ports = free_ports(2)
    servers = [Server("zabkeeper", tmp_path / str(p), {"dataDir": tmp_path / "data", "clientPort": p}, p) for p in ports]
    servers[0].start()
    try:
        wait_until(servers[0].mode, 10, "the first server serves clients")
        servers[1].start()
        assert servers[1].process.wait(10) == 3
        assert "data" in servers[1].log_tail()
    finally:
        servers[0].kill()
        servers[1].kill()


def test_dev_is_an_ensemble_in_one_process(tmp_path):
    (port,) = free_ports(1)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    started = time.monotonic()
    process = subprocess.Popen([parts.binary(), "dev", "--client-port", str(port)],
                               stdout=subprocess.PIPE, text=True, env=environment)
    try:
        line = process.stdout.readline()
        assert time.monotonic() - started < 2
        connect = ",".join(f"127.0.0.1:{port + i}" for i in range(3))
        assert connect in line, line
        client = KazooClient(hosts=connect)
        client.start(timeout=10)
        client.create("/dev", b"x")
        client.stop()
        client.close()
        assert list(pathlib.Path(tmp_path).iterdir()), "the temporary directory exists"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert not list(pathlib.Path(tmp_path).iterdir()), "the temporary directory is removed"
    finally:
        process.kill()


def test_dev_keeps_a_given_directory(tmp_path):
    (port,) = free_ports(1)
    for expected in (None, b"kept"):
        process = subprocess.Popen([parts.binary(), "dev", "--client-port", str(port), "--dir", str(tmp_path / "d"),
                                    "--nodes", "1"], stdout=subprocess.PIPE, text=True)
        try:
            assert f"127.0.0.1:{port}" in process.stdout.readline()
            client = KazooClient(hosts=f"127.0.0.1:{port}")
            client.start(timeout=10)
            if expected is None:
                client.create("/x", b"kept")
            assert client.get("/x")[0] == b"kept"
            client.stop()
            client.close()
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
        finally:
            process.kill()
