"""Curator's recipes and ZooKeeper's Java client keep their promises while members are killed: all programs
of interop/java at the same time on one ensemble."""
import random
import time

import pytest

from zk import programs
from zk.ensemble import Ensemble, assert_same_trees
from zk.killer import Killer
from zk.programs import PROGRAMS


@pytest.fixture(scope="module")
def outcomes(request, tmp_path_factory):
    """Runs all programs; returns their results."""
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
