"""Curator's recipes and ZooKeeper's Java client do their work while members are killed: each
program of interop/java, all at once on one ensemble, with its own promises."""
import random
import threading
import time

import pytest

from zk import programs
from zk.ensemble import Ensemble, assert_same_trees
from zk.programs import PROGRAMS


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
    reason = programs.missing()
    if reason:
        pytest.skip(f"skipped: {reason}")
    impl = request.config.getoption("--impl")
    seconds = request.config.getoption("--recipe-seconds") or (
        20 if request.config.getoption("--quick") else 120)
    seed = request.config.getoption("--seed") or random.SystemRandom().randrange(1, 10**6)
    print(f"\nrecipes: --seed {seed}, {seconds} s")
    directory = tmp_path_factory.mktemp("recipes")
    with Ensemble(impl, directory, extendedTypesEnabled="true", maxSessionTimeout=60000,
                  **{"znode.container.checkIntervalMs": 1000}) as ensemble:
        results = run_programs(ensemble, directory, seconds, seed)
        assert_same_trees(ensemble.servers, timeout=120)
        yield results


def run_programs(ensemble, directory, seconds, seed):
    with programs.Programs(ensemble, directory, seed) as running:
        killer = Killer(ensemble, seed)
        killer.start()
        time.sleep(seconds)
        killer.end()
        results, trace = running.finish()
    print(f"recipes: {killer.kills} members killed")
    return {**results, "trace": trace}


@pytest.mark.parametrize("program", PROGRAMS)
def test_program(outcomes, program):
    outcome, text = outcomes[program]
    print(f"{program}: {text}")
    assert outcome == "ok", f"{program}: {text}\n{outcomes['trace']}"
