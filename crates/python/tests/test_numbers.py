"""The numbers are those of the program, and those of the libraries that wrote the fixtures."""

import io
import json
import pathlib
import subprocess
from typing import Any

import numpy as np
import PIL.Image
import pytest
from conftest import FAMILIES, LESSON, PICTURES, PROGRAM, quietly, resnet, resnet_json, tensors

from resnet_wgpu import Network, adapters


def test_classes_are_those_of_the_program(network: Network, backend: str) -> None:
    want = resnet_json("classify", "--backend", backend, "--top", 3, *PICTURES)["results"]
    got = network.classify(PICTURES, top=3)
    assert len(got) == len(want) == len(PICTURES) > 10
    for guesses, result in zip(got, want, strict=True):
        for guess, top in zip(guesses, result["top"], strict=True):
            assert (guess.index, guess.label) == (top["class"], top["label"])
            # Python reads the program's decimals as 64 bits.
            assert np.float32(guess.probability) == np.float32(top["probability"])
            assert np.float32(guess.logit) == np.float32(top["logit"])


@pytest.mark.parametrize("normalize", [False, True])
def test_embeddings_are_those_of_the_program(network: Network, backend: str, normalize: bool) -> None:
    flags = ["--normalize"] if normalize else []
    lines = resnet("embed", "--backend", backend, *flags, *PICTURES).splitlines()
    want = np.array([json.loads(line)["embedding"] for line in lines], np.float32)
    got = network.embed(PICTURES, normalize=normalize)
    assert got.shape == want.shape and got.dtype == np.float32
    # The length is summed up in another order.
    np.testing.assert_allclose(got, want, rtol=1e-6 if normalize else 0, atol=0)


def test_heat_maps_are_those_of_the_program(network: Network, backend: str, tmp_path: pathlib.Path) -> None:
    for label in (None, "torus", 3):
        flags = ["--no-caption", *([] if label is None else ["--class", label])]
        target = tmp_path / "map.png"
        want = resnet_json("cam", "--backend", backend, *flags, PICTURES[0], "-o", target)
        got = network.heat_map(PICTURES[0], label)
        assert (got.index, got.label) == (want["class"], want["label"])
        assert np.float32(got.probability) == np.float32(want["probability"])
        np.testing.assert_array_equal(got.values, np.array(want["map"], np.float32))
        np.testing.assert_array_equal(got.overlay, np.asarray(PIL.Image.open(target)))


def test_inspection_is_that_of_the_program() -> None:
    for path in (LESSON, FAMILIES / "timm-se" / "model.safetensors", FAMILIES / "torchvision-basic" / "model.pth"):
        want = resnet_json("inspect", "--weights", path)
        assert want.pop("schema_version") == 1
        assert quietly(path, backend="cpu").inspect() == want


def test_adapters_are_those_of_the_program() -> None:
    assert adapters() == resnet_json("devices")["adapters"]


def test_whole_batches_and_the_rest_give_the_same_numbers(backend: Any) -> None:
    single = quietly(LESSON, backend=backend, batch=1).probabilities(PICTURES)
    for batch in (2, 5, len(PICTURES), 64):
        got = quietly(LESSON, backend=backend, batch=batch).probabilities(PICTURES)
        np.testing.assert_allclose(got, single, rtol=1e-4, atol=1e-6)


# What no file of theirs shows.
STATED = {
    "timm-bit": {"norm_groups": "2"},
    "timm-gn": {"norm_groups": "4"},
    "torchvision-ceil": {"ceil_mode": "true", "last_stride": "1"},
    "torchvision-dilated": {"output_stride": "8"},
    "torchvision-fine": {"stem_stride": "1", "stem_pool": "none"},
    "torchvision-head": {"head_activation": "relu"},
}
FOLDERS = sorted(path.name for path in FAMILIES.iterdir() if path.name.startswith(("torchvision", "timm", "hugg")))
# The library's own tests run all of them on adapters, where pipelines take seconds.
CASES = [("cpu", name) for name in FOLDERS] + [
    ("vulkan", name) for name in ("torchvision-basic", "timm-d", "huggingface")
]


@pytest.mark.parametrize(("on", "name"), CASES)
def test_fixtures_give_the_numbers_of_the_libraries_that_wrote_them(on: Any, name: str) -> None:
    folder = FAMILIES / name
    golden = tensors(folder / "golden.safetensors")
    image = golden.pop("input")
    [weights] = folder.glob("model.*")
    network = quietly(weights, backend=on, size=image.shape[2:], settings=STATED.get(name))
    got = network.run(image)
    [want] = [golden[name] for name in ("fc", "head.fc", "last_linear", "fc.4") if name in golden]
    np.testing.assert_allclose(got["logits"], want, rtol=1e-4, atol=1e-4 * np.abs(want).max())
    np.testing.assert_allclose(got["probabilities"].sum(axis=1), 1, rtol=1e-5)


def test_taps_are_the_values_of_the_network(network: Network) -> None:
    pixels = np.full((64, 64, 3), 128, np.uint8)
    names = [layer["name"] for layer in network.inspect()["layers"]]
    np.testing.assert_array_equal(network.tap(pixels, "fc13").ravel(), network.logits(pixels))
    several = network.tap([pixels, pixels], names[3])
    assert several.ndim == 4 and several.shape[0] == 2
    np.testing.assert_array_equal(several[0], several[1])


def test_a_truncated_picture_is_what_there_is_of_it_where_that_is_asked_for() -> None:
    file = io.BytesIO()
    PIL.Image.open(PICTURES[0]).convert("RGB").save(file, "jpeg")
    half = file.getvalue()[: len(file.getvalue()) // 2]
    want = subprocess.run(
        [PROGRAM, "-q", "classify", "--backend", "cpu", "--allow-truncated", "--format", "json", "-"],
        input=half,
        check=True,
        capture_output=True,
    )
    top = json.loads(want.stdout)["results"][0]["top"][0]
    guess = quietly(LESSON, backend="cpu", allow_truncated=True).classify(half, top=1)[0]
    assert (guess.label, np.float32(guess.logit)) == (top["label"], np.float32(top["logit"]))
