"""One process, two, a Ray cluster of two nodes and submitit's jobs: the built-in model's run is the same."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from erasure_bench.bench.cli.app import run_command
from erasure_bench.models.diffusion_model import DiffusionModel
from studies.soaking import Fingerprint, fingerprint, run_words

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("alike")


@pytest.fixture(scope="module")
def alone(work: Path, microworld: DiffusionModel) -> Fingerprint:
    assert run_command(run_words(work, "alone")) == 0
    return fingerprint(work, "alone")


@pytest.fixture
def two_nodes() -> Iterator[str]:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    yield cluster.address
    cluster.shutdown()


def test_two_processes(work: Path, alone: Fingerprint) -> None:
    assert run_command([*run_words(work, "two"), "--workers", "2", "--device", "cpu"]) == 0
    assert fingerprint(work, "two") == alone


@pytest.mark.skipif(find_spec("submitit") is None, reason="submitit is not installed")
def test_submitit(work: Path, alone: Fingerprint) -> None:
    words = [*run_words(work, "slurm"), "--executor", "slurm", "--workers", "2", "--slurm", "cluster=local"]
    assert run_command(words) == 0
    assert fingerprint(work, "slurm") == alone


def test_a_ray_cluster_of_two_nodes(work: Path, alone: Fingerprint, two_nodes: str) -> None:
    words = [*run_words(work, "ray"), "--executor", "ray", "--workers", "2", "--ray-address", two_nodes]
    assert run_command(words) == 0
    assert fingerprint(work, "ray") == alone
