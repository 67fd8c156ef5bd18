"""Apache ZooKeeper and zabkeeper in one ensemble."""
import pytest

from zk.ensemble import Ensemble, assert_same_trees
from zk.load import begin, check, end, wait_for_service


@pytest.mark.parametrize("impls", [["apache", "zabkeeper", "zabkeeper"], ["zabkeeper", "apache", "apache"],
                                   ["zabkeeper", "zabkeeper", "apache"]],
                         ids=lambda impls: "-".join(i[0] for i in impls))
def test_a_mixed_ensemble_survives_its_leader(zabkeeper_only, java, impls, tmp_path):
    with Ensemble(impls, tmp_path) as ensemble:
        writers = begin(ensemble, 3)
        for _ in range(3):
            wait_for_service(writers)
            leader = ensemble.leader()
            leader.kill()
            ensemble.leader()
            wait_for_service(writers)
            leader.start()
            ensemble.wait_serving()
        wait_for_service(writers)
        end(writers)
        check(assert_same_trees(ensemble.servers), writers)
        assert all(s.running() for s in ensemble.servers)
