"""kazoo's own test suite: what passes on Apache ZooKeeper passes on zabkeeper."""
import pathlib
import subprocess

import pytest

RUN = pathlib.Path(__file__).resolve().parent / "kazoo-suite" / "run"


@pytest.mark.timeout(5400)
def test_what_passes_on_zookeeper_passes_here(zabkeeper_only, java, quick):
    if quick:
        pytest.skip("skipped: takes a quarter of an hour; runs without --quick, or as kazoo-suite/run")
    run = subprocess.run([RUN], stdout=subprocess.PIPE, text=True)
    print(run.stdout)
    assert run.returncode == 0
