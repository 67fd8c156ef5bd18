"""Curator's recipes and ZooKeeper's Java client do their work while members are killed: each
program of interop/java, all at once on one ensemble, with its own promises."""
import pathlib
import random
import re
import subprocess
import threading
import time

import pytest

from zk import parts
from zk.ensemble import Ensemble, assert_same_trees
from zk.server import LOG4J

JAVA = pathlib.Path(__file__).resolve().parent / "java"
PROGRAMS = re.findall(r"(\w+)\.class", (JAVA / "Main.java").read_text().split("ALL")[1].split(";")[0])


def compiled(directory):
    """The programs' classes."""
    classes = directory / "classes"
    subprocess.run(["javac", "-nowarn", "-Xlint:-options", "-cp", parts.classpath(), "-d", classes,
                    *sorted(JAVA.glob("*.java"))], check=True, capture_output=True, text=True)
    return classes


class Killer(threading.Thread):
    """Kills members with SIGKILL and starts them again, in a way that a seed decides: mostly one,
    the leader more often than the others; sometimes two; seldom all."""

    def __init__(self, ensemble, seed):
        super().__init__(daemon=True)
        self.ensemble, self.random = ensemble, random.Random(seed)
        self.halt, self.kills, self.error = threading.Event(), 0, None

    def run(self):
        try:
            while not self.halt.wait(self.random.uniform(1.0, 4.0)):
                self.kill_some()
        except BaseException as error:
            self.error = error

    def kill_some(self):
        dice, members = self.random.random(), self.ensemble.servers
        if dice < 0.4:
            victims = [s for s in members if s.mode() == "leader"] or members[:1]
        else:
            victims = self.random.sample(members, 1 if dice < 0.85 else 2 if dice < 0.95 else 3)
        for victim in victims:
            victim.kill()
            self.kills += 1
        time.sleep(self.random.uniform(0.1, 2.0))
        for victim in victims:
            victim.start()
        if self.random.random() < 0.7:
            self.ensemble.wait_serving()

    def end(self):
        self.halt.set()
        self.join(90)
        if self.error:
            raise self.error
        self.ensemble.wait_serving()


@pytest.fixture(scope="module")
def outcomes(request, tmp_path_factory):
    """Runs all programs; what each of them said."""
    reason = parts.missing_java() or parts.missing_curator() or parts.missing_javac()
    if reason:
        pytest.skip(f"skipped: {reason}")
    impl = request.config.getoption("--impl")
    seconds = request.config.getoption("--recipe-seconds") or (
        20 if request.config.getoption("--quick") else 120)
    seed = request.config.getoption("--seed") or random.SystemRandom().randrange(1, 10**6)
    print(f"\nrecipes: --seed {seed}, {seconds} s")
    directory = tmp_path_factory.mktemp("recipes")
    classes = compiled(directory)
    log4j = LOG4J.replace("level=info", "level=warn") + "appender.out.target=SYSTEM_ERR\n"
    (directory / "log4j2.properties").write_text(log4j)
    with Ensemble(impl, directory, extendedTypesEnabled="true", maxSessionTimeout=60000,
                  **{"znode.container.checkIntervalMs": 1000}) as ensemble:
        results = run_programs(ensemble, directory, classes, seconds, seed)
        assert_same_trees(ensemble.servers, timeout=120)
        yield results


def run_programs(ensemble, directory, classes, seconds, seed):
    command = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-ea", "-Dzookeeper.extendedTypesEnabled=true",
               f"-Dlog4j2.configurationFile={directory / 'log4j2.properties'}",
               "-cp", f"{classes}:{parts.classpath()}", "Main", ensemble.connect_string, str(seed)]
    with open(directory / "java.log", "w") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            for line in process.stdout:
                if line == "begun\n":
                    break
            killer = Killer(ensemble, seed)
            killer.start()
            time.sleep(seconds)
            killer.end()
            output, _ = process.communicate("\n", timeout=180)
        finally:
            process.kill()
            process.wait()
    print(f"recipes: {killer.kills} members killed")
    results = {}
    for line in output.splitlines():
        if line.startswith(("ok\t", "failed\t")):
            outcome, name, text = line.split("\t", 2)
            results[name] = (outcome, text)
    log = (directory / "java.log").read_text()
    trace = "\n".join(re.findall(r"^\S+Z \w+, .*(?:\n.+){,12}", log, re.M))  # what each program failed with
    assert set(results) == set(PROGRAMS), f"no word of {set(PROGRAMS) - set(results)}\n{trace}"
    results["trace"] = trace
    return results


@pytest.mark.parametrize("program", PROGRAMS)
def test_program(outcomes, program):
    outcome, text = outcomes[program]
    print(f"{program}: {text}")
    assert outcome == "ok", f"{program}: {text}\n{outcomes['trace']}"
