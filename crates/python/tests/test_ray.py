"""`examples/ray_batch.py` on a cluster of two nodes: every image once, whatever happens."""

import contextlib
import os
import pathlib
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import PIL.Image
import pyarrow.parquet
import pytest
import ray
import ray.cloudpickle
import ray.data
from conftest import FAMILIES, ROOT, quietly
from ray.cluster_utils import Cluster

import resnet_wgpu
from resnet_wgpu import Network

sys.path.insert(0, str(ROOT / "examples"))
import ray_batch  # noqa: E402

ray.cloudpickle.register_pickle_by_value(ray_batch)
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

# A small network, about which nothing is assumed.
WEIGHTS = FAMILIES / "huggingface" / "model.safetensors"
IMAGES = 2000
BROKEN = 1234
# Python and Ray take most of it; the rest is the network and two batches.
MOST_MEMORY = 500 << 20
# Seconds until a run is taken to have no end.
LONGEST = 600


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Images that differ, one of them broken."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for number in range(IMAGES):
        coarse = random.integers(0, 256, (4, 5, 3), np.uint8)
        PIL.Image.fromarray(coarse).resize((80, 64)).save(folder / f"{number:04}.jpg")
    (folder / f"{BROKEN:04}.jpg").write_bytes(b"broken")
    return folder


@pytest.fixture(scope="module")
def want(photos: pathlib.Path) -> Any:
    """The answers of one process."""
    return quietly(WEIGHTS, backend="cpu").predict(sorted(photos.iterdir()), errors="return")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes, which share nothing but the disk; one says that it has two GPUs."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    try:
        cluster.add_node(num_cpus=2, num_gpus=2)
        ray.init(address=cluster.address, log_to_driver=False)
        # One actor could have done everything before the other has started.
        ray.data.DataContext.get_current().wait_for_min_actors_s = LONGEST
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def own_threads() -> int:
    """Threads of a network in this process, where others come and go."""
    names = []
    for task in pathlib.Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            names.append((task / "comm").read_text())
    return sum(name.startswith("resnet ") for name in names)


class Observed(ray_batch.Model):
    """Says where it ran, with how much memory and on how many threads."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        answers = super().__call__(batch)
        count = len(answers["path"])
        answers["node"] = np.array([ray.get_runtime_context().get_node_id()] * count)
        answers["memory"] = np.full(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10)
        answers["threads"] = np.full(count, own_threads())
        return answers


class Killed(Observed):
    """Ends without a word in the middle, once."""

    def __init__(self, weights: str) -> None:
        super().__init__(weights)
        self.batches = 0

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        self.batches += 1
        if self.batches == 3:
            try:
                os.close(os.open(os.environ["RESNET_KILLED"], os.O_CREAT | os.O_EXCL))
                os.kill(os.getpid(), signal.SIGKILL)
            except FileExistsError:
                pass
        return super().__call__(batch)


def same(rows: list[dict[str, Any]], want: Any) -> None:
    """Every image once, with the answers of one process."""
    rows = sorted(rows, key=lambda row: row["path"])
    assert [pathlib.Path(row["path"]).stem for row in rows] == [f"{number:04}" for number in range(IMAGES)]
    for number, (row, top) in enumerate(zip(rows, want.top(1), strict=True)):
        if number == BROKEN:
            assert row["label"] is None and "image" in row["error"] and np.isnan(row["embedding"]).all()
            continue
        assert row["error"] is None
        assert (row["label"], np.float32(row["probability"])) == (top[0].label, np.float32(top[0].probability))
        np.testing.assert_array_equal(np.float32(row["embedding"]), want.embeddings[number])
        np.testing.assert_array_equal(np.float32(row["probabilities"]), want.probabilities[number])


def test_two_nodes_give_the_answers_of_one_process(cluster: Cluster, photos: pathlib.Path, want: Any) -> None:
    # The actors have all cores.
    rows = ray_batch.answers_of(str(photos), str(WEIGHTS), model=Observed, actors=2, cpus=2).take_all()
    same(rows, want)
    assert len({row["node"] for row in rows}) == 2
    assert max(row["memory"] for row in rows) < MOST_MEMORY
    assert {row["threads"] for row in rows} == {2}


def test_nothing_is_lost_or_doubled_when_an_actor_is_killed(
    cluster: Cluster, photos: pathlib.Path, want: Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = tmp_path / "killed"

    class KilledHere(Killed):
        def __init__(self, weights: str) -> None:
            os.environ["RESNET_KILLED"] = str(killed)
            super().__init__(weights)

    rows = ray_batch.answers_of(str(photos), str(WEIGHTS), model=KilledHere, actors=2, cpus=1).take_all()
    assert killed.exists()
    same(rows, want)
    assert {row["threads"] for row in rows} == {1}


def test_actors_with_a_gpu_take_the_adapter_that_ray_gave_them(cluster: Cluster, tmp_path: pathlib.Path) -> None:
    addresses = ["0000:03:00.0", "0000:0a:00.0"]
    for address in addresses:
        (tmp_path / address).mkdir()

    class OnGpu(ray_batch.Model):
        """Opens no network: there is no GPU of NVIDIA's here."""

        def __init__(self) -> None:
            resnet_wgpu._network._GPUS = str(tmp_path)
            setattr(Network, "open", lambda path, **options: options)
            super().__init__("weights")

        def options(self) -> Any:
            return self.network

    on_gpu: Any = ray.remote(num_gpus=1)(OnGpu)
    actors = [on_gpu.remote() for _ in addresses]
    options = ray.get([actor.options.remote() for actor in actors], timeout=LONGEST)
    assert sorted(option["device"] for option in options) == [f"pci:{address}" for address in addresses]
    assert all("backend" not in option for option in options)
    for actor in actors:
        ray.kill(actor)


@pytest.mark.parametrize("joins", [False, True], ids=["a cluster of its own", "the one that there is"])
def test_the_example_reads_and_writes_parquet_by_itself(
    cluster: Cluster, photos: pathlib.Path, want: Any, tmp_path: pathlib.Path, joins: bool
) -> None:
    paths = sorted(photos.iterdir())[:40]
    table = pyarrow.table({"path": list(map(str, paths)), "bytes": [path.read_bytes() for path in paths]})
    (tmp_path / "in").mkdir()
    pyarrow.parquet.write_table(table, tmp_path / "in" / "photos.parquet")
    command = [sys.executable, str(ROOT / "examples" / "ray_batch.py"), str(tmp_path / "in"), str(tmp_path / "out")]
    command += ["--weights", str(WEIGHTS), "--batch", "16", *(["--address", "auto"] if joins else [])]
    run = subprocess.run(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, timeout=LONGEST)
    assert run.returncode == 0, run.stderr
    # Ray names the cluster that it joins.
    assert (cluster.address in run.stderr) == joins, run.stderr
    rows = pyarrow.parquet.read_table(tmp_path / "out").to_pylist()
    assert sorted(row["path"] for row in rows) == list(map(str, paths))
    by_path = {row["path"]: row for row in rows}
    for number, (path, top) in enumerate(zip(paths, want.top(1), strict=False)):
        row = by_path[str(path)]
        assert row["label"] == top[0].label
        np.testing.assert_array_equal(np.float32(row["embedding"]), want.embeddings[number])
