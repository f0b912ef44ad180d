"""What is refused is refused by its kind, with the program's sentences in terms of arguments."""

import pathlib
import pickle
import warnings
from typing import Any

import pytest
from conftest import FAMILIES, LESSON, PICTURES, quietly

import resnet_wgpu
from resnet_wgpu import AdapterError, AssumedWarning, ImageError, Network, ResnetError, WeightsError, cuda_adapter

ASSUMED = FAMILIES / "torchvision-basic" / "model.pth"


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"device": "no such adapter"}, AdapterError, "no such adapter"),
        ({"device": "pci:dead:01:00.0"}, AdapterError, "pci:dead:01:00.0"),
        ({"device": "pci:3"}, AdapterError, "pci:0000:01:00.0"),
        ({"backend": "metal"}, AdapterError, "backend='cpu'"),
        ({"backend": "opencl"}, ValueError, "vulkan, metal, dx12, gl, cpu"),
        ({"backend": "cpu", "device": 0}, ValueError, "device= names an adapter"),
        ({"backend": "cpu", "precision": "f16"}, ValueError, "precision='f16' needs an adapter"),
        ({"precision": "f8"}, ValueError, "f8"),
        ({"batch": 0}, ValueError, "at least 1"),
        ({"threads": 0}, ValueError, "at least 1"),
        ({"threads": 10**6}, ValueError, "at most 256"),
        ({"batch": 2**62}, ValueError, "at most 65536"),
        ({"batch": "3"}, TypeError, "batch= must be a whole number, not str"),
        ({"size": (64, 1.5)}, TypeError, "size= must be a whole number, not float"),
        ({"entry": 5}, TypeError, "entry= must be a text, not int"),
        # A part of many a driver's version.
        ({"device": 15}, AdapterError, "'15' is none of"),
        ({"device": 100}, AdapterError, "no adapter 100"),
        ({"device": ""}, AdapterError, "is none of"),
        ({"preprocess": "unheard-of"}, ValueError, "preprocess='unheard-of'.*torchvision"),
        ({"preprocess": "missing.json"}, ResnetError, "missing.json"),
        ({"labels": "missing.txt"}, ResnetError, "labels='missing.txt'"),
        ({"variant": "v9"}, ValueError, "v9.*v1.5"),
        ({"activation": "tanh"}, ValueError, "tanh.*sigmoid"),
        ({"settings": {"unheard": "of"}}, WeightsError, "stem_pool"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as raised:
        quietly(ASSUMED, **{"backend": None, **options})
    assert type(raised.value) is kind


def test_weights_that_cannot_be_read_are_refused(tmp_path: pathlib.Path) -> None:
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(LESSON.read_bytes()[:5000])
    for path in (damaged, tmp_path / "missing.pth", tmp_path, PICTURES[0]):
        with pytest.raises(WeightsError, match=path.name):
            Network.open(path, backend="cpu")


def test_assumptions_are_warnings_or_refused() -> None:
    with pytest.warns(AssumedWarning, match="nothing says the preprocessing.*preprocess="):
        Network.open(ASSUMED, backend="cpu")
    with pytest.raises(WeightsError, match="strict=True: nothing says the preprocessing.*preprocess="):
        Network.open(ASSUMED, backend="cpu", strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Network.open(LESSON, backend="cpu", strict=True)


def test_classes_and_values_that_do_not_exist_are_refused(on_cpu: Network) -> None:
    for label in ("unheard-of", 13, "c"):
        with pytest.raises(ValueError, match=f"label='{label}'"):
            on_cpu.heat_map(PICTURES[0], label)
    with pytest.raises(ResnetError, match="layer9"):
        on_cpu.tap(PICTURES[0], "layer9")


def test_the_lesson_is_found_in_a_clone_alone(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(LESSON.parent.parent)
    assert Network.lesson(backend="cpu").labels == quietly(LESSON, backend="cpu").labels
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match="clone of the repository"):
        Network.lesson()


def test_exceptions_survive_a_pickle(on_cpu: Network) -> None:
    error = on_cpu.classify([b"", b""], errors="return")[1]
    assert isinstance(error, ImageError)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.index) == (ImageError, str(error), 1)
    for name in ("ResnetError", "WeightsError", "AdapterError", "DeviceError", "AnswerError", "ImageError"):
        assert issubclass(getattr(resnet_wgpu, name), ResnetError)


def test_cuda_devices_are_found_by_number_and_by_uuid(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for address, uuid in (("0000:0a:00.0", "GPU-aaaa-1"), ("0000:03:00.0", "GPU-bbbb-2")):
        folder = tmp_path / address
        folder.mkdir()
        (folder / "information").write_text(f"Model: \t\t X\nGPU UUID: \t {uuid}\n")
    monkeypatch.setattr("resnet_wgpu._network._GPUS", str(tmp_path))
    for value, want in [
        ("0", "pci:0000:03:00.0"),
        ("1,0", "pci:0000:0a:00.0"),
        ("GPU-bbbb", "pci:0000:03:00.0"),
        ("", None),
        ("-1", None),
    ]:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        assert cuda_adapter() == want, value
    for value in ("2", "MIG-1", "GPU-cccc"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        with pytest.raises(AdapterError, match=value):
            cuda_adapter()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert cuda_adapter() is None
