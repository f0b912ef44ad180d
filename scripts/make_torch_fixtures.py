"""Writes crates/formats/tests/data/torch/: checkpoints of a tiny ResNet as PyTorch saves them.

usage: pip install torch numpy && python scripts/make_torch_fixtures.py

The files of the repository were written by PyTorch 2.15. The network has basic blocks [1, 1, 1, 1], a
stem of one channel and two classes. Element i of a tensor is ((b + 5 i) mod 64 + 1) / 32, where b is
the sum of the bytes of its name: exact in every float type, and known to the test.
"""

import argparse
import collections
import functools
import pathlib
import warnings

import numpy
import torch

FOLDER = pathlib.Path(__file__).parent.parent / "crates" / "formats" / "tests" / "data" / "torch"


def norm(name, channels):
    for role in ["weight", "bias", "running_mean", "running_var"]:
        yield f"{name}.{role}", [channels]
    yield f"{name}.num_batches_tracked", None


def shapes():
    yield "conv1.weight", [1, 3, 7, 7]
    yield from norm("bn1", 1)
    in_c = 1
    for stage, out_c in enumerate([1, 2, 4, 8], start=1):
        layer = f"layer{stage}.0"
        yield f"{layer}.conv1.weight", [out_c, in_c, 3, 3]
        yield from norm(f"{layer}.bn1", out_c)
        yield f"{layer}.conv2.weight", [out_c, out_c, 3, 3]
        yield from norm(f"{layer}.bn2", out_c)
        if in_c != out_c:
            yield f"{layer}.downsample.0.weight", [out_c, in_c, 1, 1]
            yield from norm(f"{layer}.downsample.1", out_c)
        in_c = out_c
    yield "fc.weight", [2, 8]
    yield "fc.bias", [2]


def tensor(name, shape):
    if shape is None:
        return torch.tensor(7)
    count = int(numpy.prod(shape))
    first = sum(name.encode())
    values = [((first + 5 * i) % 64 + 1) / 32 for i in range(count)]
    return torch.tensor(values).reshape(shape)


def state_dict():
    state = collections.OrderedDict((name, tensor(name, shape)) for name, shape in shapes())
    state._metadata = collections.OrderedDict({"": {"version": 1}})
    return state


def shared(state, dtype):
    """The same tensors as views of one storage."""
    flat = torch.cat([value.flatten().to(dtype) for value in state.values()])
    views, start = collections.OrderedDict(), 0
    for name, value in state.items():
        views[name] = flat[start : start + value.numel()].view(value.shape)
        start += value.numel()
    return views


def floats(state):
    return {name: value for name, value in state.items() if value.is_floating_point()}


def turned(state):
    """The same tensors with other strides: channels last, transposed, every second element."""
    state["layer4.0.conv2.weight"] = state["layer4.0.conv2.weight"].to(memory_format=torch.channels_last)
    state["fc.weight"] = state["fc.weight"].t().contiguous().t()
    wide = torch.zeros(2, 3)
    wide[:, 1] = state["fc.bias"]
    state["fc.bias"] = wide[:, 1]
    return state


def training():
    """What a training script saves: the state dict inside a dict with much else."""
    weights = shared(floats(state_dict()), torch.float16)
    weights = {f"module.{name}": value for name, value in weights.items()}
    name = "module.layer1.0.conv1.weight"
    parameter = torch.nn.Parameter(weights[name].to(torch.float64))
    optimiser = torch.optim.SGD([parameter], lr=0.1, momentum=0.9)
    parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    weights[name] = torch.nn.Parameter(tensor(name.removeprefix("module."), [1, 1, 3, 3]).to(torch.float64))
    name = "module.conv1.weight"
    weights[name] = weights[name].to(torch.bfloat16)
    return {
        "epoch": 3,
        "arch": "tiny",
        "state_dict": weights,
        "model_ema": {"conv1.weight": torch.zeros(1)},
        "optimizer": optimiser.state_dict(),
        # As timm's script has them.
        "args": argparse.Namespace(
            lr=0.1, path=pathlib.PurePosixPath("data"), mean=[0.5, 0.5, 0.25], std=(0.25,), crop_pct=0.9,
            interpolation="bilinear", img_size=45, input_size=None,
        ),
        "best": numpy.float64(0.5),
        "loss": torch.tensor(0.25),
        "size": torch.Size([1, 2]),
        "device": torch.device("cpu"),
        "seen": {1, 2},
        "big": 1 << 70,
        "nothing": None,
    }


class Meter:
    """An object of a class that only the training script has."""

    def __init__(self):
        self.history = [0.5, 0.25]


def crowded():
    """Weights and their average beside objects of all kinds, as saved by Lightning and timm's script."""
    weights = shared(floats(state_dict()), torch.float16)
    average = {f"model.{name}": 2 * value for name, value in weights.items()}
    weights = {f"model.{name}": value for name, value in weights.items()}
    weights["criterion.weight"] = torch.ones(2)
    return {
        # As torchvision's references have them.
        "args": argparse.Namespace(
            model="resnetblur18", lr=0.1, val_resize_size=40, val_crop_size=36, interpolation="bicubic"
        ),
        "hyper_parameters": {
            "loss": torch.nn.CrossEntropyLoss(),
            "optimizer": functools.partial(torch.optim.SGD, lr=0.1),
        },
        "meter": Meter(),
        "class_to_idx": {"dog": 1, "cat": 0},
        "state_dict": weights,
        "state_dict_ema": average,
    }


class Scripted(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))

    def forward(self, x):
        return x + self.weight


FOLDER.mkdir(parents=True, exist_ok=True)
warnings.simplefilter("ignore")
torch.save(turned(state_dict()), FOLDER / "zip.pth")
torch.save(turned(state_dict()), FOLDER / "legacy.pth", _use_new_zipfile_serialization=False)
torch.save(training(), FOLDER / "training.pth", pickle_protocol=4)
torch.save(training(), FOLDER / "training-legacy.pth", _use_new_zipfile_serialization=False)
torch.save(crowded(), FOLDER / "crowded.pth")
torch.save(crowded(), FOLDER / "crowded-legacy.pth", _use_new_zipfile_serialization=False)
torch.save(torch.nn.Linear(1, 1), FOLDER / "module.pth")
torch.save(torch.zeros(3), FOLDER / "tensor.pth")
torch.jit.script(Scripted()).save(FOLDER / "script.pt")
for path in sorted(FOLDER.iterdir()):
    print(path.name, path.stat().st_size)
