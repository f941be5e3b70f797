from collections.abc import Iterator

import pytest

from tests.cluster.clusters import Cluster, cluster


@pytest.fixture(scope="session")
def joinable() -> Iterator[Cluster]:
    """A cluster with four logical GPUs that several tests join; its nodes know of no data set."""
    with cluster("--num-cpus", "4", "--num-gpus", "4") as found:
        yield found
