"""kazoo's own test suite: tests that pass on Apache ZooKeeper pass on zabkeeper."""
import pathlib
import subprocess

import pytest

RUN = pathlib.Path(__file__).resolve().parent / "kazoo-suite" / "run"


@pytest.mark.timeout(5400)
def test_kazoo_tests_pass_as_on_zookeeper(zabkeeper_only, java, quick):
    if quick:
        pytest.skip("skipped: takes 15 minutes; runs without --quick, or as kazoo-suite/run")
    run = subprocess.run([RUN], stdout=subprocess.PIPE, text=True)
    print(run.stdout)
    assert run.returncode == 0
