"""What the tests share: the repository's network and pictures, and the program to compare with."""

import json
import os
import pathlib
import secrets
import shutil
import subprocess
import tempfile
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import resnet_wgpu
from resnet_wgpu import Network

ROOT = pathlib.Path(__file__).resolve().parents[3]
LESSON = ROOT / "models" / "shapes" / "shapes.int8.safetensors"
FAMILIES = ROOT / "crates" / "formats" / "tests" / "data" / "families"
PICTURES = sorted((ROOT / "assets").glob("*.png"))
PROGRAM = os.environ.get("RESNET_PROGRAM", str(ROOT / "target" / "debug" / "resnet"))


def pytest_configure(config: pytest.Config) -> None:
    """Ray starts what the tests ask for, and neither sees nor disturbs another cluster of this machine.

    Left to itself, it joins the one of which a file under /tmp says that it was started last.
    """
    # Its sockets lie below, and their paths must be short.
    os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    os.environ.pop("RAY_ADDRESS", None)
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32), RAY_USAGE_STATS_ENABLED="0")
    # On a busy machine a worker takes longer to start than the minute after which Ray starts another, for ever.
    os.environ["RAY_worker_register_timeout_seconds"] = "600"


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(os.environ.pop("RAY_TMPDIR"), ignore_errors=True)


def resnet(*arguments: object) -> str:
    """What the program prints."""
    command = [PROGRAM, "-q", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def resnet_json(*arguments: object) -> Any:
    """What the program says as JSON."""
    return json.loads(resnet(*arguments, "--format", "json"))


def quietly(path: pathlib.Path, **options: Any) -> Network:
    """Opens a network about which something is assumed on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", resnet_wgpu.AssumedWarning)
        return Network.open(path, **options)


def tensors(path: pathlib.Path) -> dict[str, npt.NDArray[np.float32]]:
    """The tensors of a safetensors file of 32-bit floats."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    entries = json.loads(data[8 : 8 + length])
    found = {}
    for name, entry in entries.items():
        if name != "__metadata__":
            start, end = (8 + length + offset for offset in entry["data_offsets"])
            found[name] = np.frombuffer(data[start:end], np.float32).reshape(entry["shape"])
    return found


@pytest.fixture(scope="session", params=["cpu", "vulkan"])
def backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="session")
def network(backend: Any) -> Network:
    """The lesson on each device, image by image as the program runs it."""
    return quietly(LESSON, backend=backend, batch=1)


@pytest.fixture(scope="session")
def on_cpu() -> Network:
    """The lesson where the device does not matter."""
    return quietly(LESSON, backend="cpu")
