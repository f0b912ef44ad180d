"""A network on a device, in numpy's terms."""

from __future__ import annotations

import json
import operator
import os
import pathlib
import sys
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from . import _native
from ._images import Array, Image, Images, _array, _HasArray, one_or_many
from ._native import AdapterError, ImageError, WeightsError

Floats = npt.NDArray[np.float32]
Errors = Literal["raise", "return"]

_LESSON = "shapes.int8.safetensors"
_GPUS = "/proc/driver/nvidia/gpus"

# The most threads of a network, and images that run together. Which sizes there are, the library says.
_MOST_THREADS = 256
_MOST_IMAGES = 1 << 16


# What an exception has until it is about one of several images.
ImageError.index = None

# Whether a network was opened here, and whether that was in a process of which this is a fork: there the
# threads are gone that a network uses, and drivers do not know that they are in another process.
_opened = False
_forked = False
# Networks of other processes: to end them would wait for threads that are not here.
_left: list[_native.Network] = []


def _after_fork() -> None:
    global _forked
    _forked = _opened


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class AssumedWarning(UserWarning):
    """Something about a network was assumed; its message says how to state it."""


@dataclass(frozen=True)
class Guess:
    """A class that an image may show."""

    index: int
    """The number of the class."""
    label: str
    """Its name, or its number in words where nothing names it."""
    probability: float
    logit: float


@dataclass(frozen=True, eq=False)
class Answers:
    """What a network says about images, with a row for each of them.

    A network without a classifier has neither logits nor probabilities. The rows of an image that
    could not be read are NaN.
    """

    logits: Floats | None
    """[images, classes]"""
    probabilities: Floats | None
    """[images, classes]"""
    embeddings: Floats
    """[images, features]"""
    errors: list[ImageError | None]
    """Why an image could not be read."""
    labels: list[str] | None
    """The names of the classes, where something names them."""

    def __len__(self) -> int:
        return len(self.errors)

    def label(self, index: int) -> str:
        """The name of a class, or its number in words."""
        return f"class {index}" if self.labels is None else self.labels[index]

    def top(self, count: int = 5) -> list[list[Guess] | ImageError]:
        """The most likely classes of each image, best first, or why it could not be read."""
        count = operator.index(count)
        if count < 0:
            raise ValueError(f"{count} guesses: expected 0 or more")
        if self.logits is None or self.probabilities is None:
            raise ValueError("the network has no classifier")
        rows: list[list[Guess] | ImageError] = []
        for logits, probabilities, error in zip(self.logits, self.probabilities, self.errors, strict=True):
            best = np.argsort(-logits, kind="stable")[:count].tolist()
            guesses = [Guess(i, self.label(i), float(probabilities[i]), float(logits[i])) for i in best]
            rows.append(guesses if error is None else error)
        return rows


@dataclass(frozen=True, eq=False)
class HeatMap:
    """What in an image speaks for a class."""

    index: int
    """The number of the class."""
    label: str
    """Its name."""
    probability: float
    values: Floats
    """[rows, columns] of a feature map, scaled to the range from 0 to 1."""
    overlay: npt.NDArray[np.uint8]
    """[rows, columns, 3]: the image in its own size, with the map over the part that the network sees."""


class Network:
    """A network that is ready to run; threads may share it, and a pickle of it opens the file again.

    So does a process that was forked from this one, such as a worker of PyTorch's `DataLoader`, on the CPU;
    processes that use a GPU must be started by "spawn" or "forkserver".

    Images are paths, image files as bytes or open for reading, `PIL.Image`s, and uint8 pixels in rows, columns and 1, 3 or 4
    channels: arrays of numpy, or of whatever has `__array_interface__` or DLPack on the CPU, which are
    read where they lie if they have no gaps. A list or a generator of these, an array of objects or texts,
    and one of pixels with the number of the image in front, are several images. Files are turned upright as
    their EXIF data say, and their pixels are Pillow's; pixels that are handed over are taken as they are.
    Every method reads, resizes and runs images at the same time, without the interpreter's lock: of a
    generator at most three batches (on the CPU two) and an image for each thread are held.

    An image that cannot be read raises `ImageError`, or is returned in its place with errors="return".
    Every method also raises `DeviceError` if the device fails, and what takes images `AnswerError` if what it
    computed is no answer. An interrupt ends a call after the batch at hand.
    """

    def __init__(self, path: str, options: dict[str, Any], said: bool = False) -> None:
        """Use `Network.open`."""
        if "device" not in options:
            raise TypeError("open networks by Network.open(path, ...)")
        self._path, self._options = path, options
        self._own, self._process = _open(path, options), os.getpid()
        self._on_cpu = self.device["backend"] == "cpu"
        if said:
            return
        chosen = options["device"] or options["backend"]
        if not chosen and self.device["backend"] == "cpu":
            message = "no usable GPU adapter: running on the CPU, which is slower"
            warnings.warn(message, RuntimeWarning, stacklevel=3)
        for assumption in self._network.assumed:
            warnings.warn(assumption, AssumedWarning, stacklevel=3)

    @property
    def _network(self) -> _native.Network:
        """The network, which is opened again in a fork of the process that opened it."""
        if self._process != os.getpid():
            _left.append(self._own)
            backend = "cpu" if self._on_cpu else self._options["backend"]
            self._own, self._process = _open(self._path, {**self._options, "backend": backend}), os.getpid()
        return self._own

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        device: str | int | None = None,
        backend: Literal["vulkan", "metal", "dx12", "gl", "cpu"] | None = None,
        precision: Literal["f32", "f16"] = "f32",
        batch: int | None = None,
        threads: int | None = None,
        size: int | tuple[int, int] | None = None,
        preprocess: str | os.PathLike[str] | None = None,
        labels: str | os.PathLike[str] | None = None,
        entry: str | None = None,
        variant: str | None = None,
        activation: Literal["softmax", "log-softmax", "sigmoid"] | None = None,
        settings: Mapping[str, str | int | bool] | None = None,
        strict: bool = False,
        allow_truncated: bool = False,
        fast_decode: bool = False,
    ) -> Network:
        """Opens a weight file: safetensors, PyTorch, ONNX or Keras, or "hf:owner/name" from the Hub.

        Args:
            path: The file, a folder with one, or "hf:" and a repository, which is downloaded once.
            device: An adapter by its number in `adapters()`, a part of its name, or "pci:" and its
                address; the best one if left out, or what WGPU_ADAPTER_NAME names.
            backend: The API, or "cpu" for no GPU at all.
            precision: What feature maps and weights are stored in; "f16" needs an adapter.
            batch: Images that run together, at most 65,536: 8 on a GPU, and one elsewhere, where more gain nothing.
            threads: Threads that decode, and compute with backend="cpu", at most 256; all cores if left out.
            size: Rows and columns of the image; as the network was trained if left out.
            preprocess: The preparation of images, by name or as a JSON file; as the weights have it if
                left out.
            labels: The names of the classes: a file, or "imagenet1k".
            entry: Which network of a file with several.
            variant: Which of several networks with the same weights.
            activation: What makes probabilities of the scores.
            settings: What no file shows, such as {"stem_pool": "none"}.
            strict: Refuse to assume anything; otherwise assumptions are `AssumedWarning`s.
            allow_truncated: Take what there is of images that are cut off.
            fast_decode: Decode JPEGs at a fraction of their size, at least twice that of the network's image;
                the pixels then differ a little from Pillow's.

        Raises:
            WeightsError: The weights are unreadable, unsupported, ambiguous, or not to be had.
            AdapterError: There is no adapter of the kind that was asked for.
            DeviceError: The device cannot run the network.
            ResnetError: The network cannot have this size or these labels.
            TypeError: An argument is of another type.
            ValueError: An argument makes no sense.
        """
        if isinstance(size, int):
            size = (size, size)
        if size is not None:
            rows, columns = size
            size = (_count("size", rows, sys.maxsize), _count("size", columns, sys.maxsize))
        if isinstance(device, int):
            # The program takes larger numbers for parts of names.
            if isinstance(device, bool) or not 0 <= device < 100:
                raise AdapterError(f"there is no adapter {device}; `adapters()` numbers them")
            device = str(device)
        for name, text in (
            ("device", device),
            ("backend", backend),
            ("entry", entry),
            ("variant", variant),
            ("activation", activation),
        ):
            if text is not None and not isinstance(text, str):
                raise TypeError(f"{name}= must be a text, not {type(text).__name__}")
        if not isinstance(precision, str):
            raise TypeError(f"precision= must be a text, not {type(precision).__name__}")
        options = {
            "device": device,
            "backend": backend,
            "precision": precision,
            "batch": None if batch is None else _count("batch", batch, _MOST_IMAGES),
            "threads": None if threads is None else _count("threads", threads, _MOST_THREADS),
            "size": size,
            "preprocess": None if preprocess is None else os.fspath(preprocess),
            "labels": None if labels is None else os.fspath(labels),
            "entry": entry,
            "variant": variant,
            "activation": activation,
            "settings": {name: _setting(value) for name, value in dict(settings or {}).items()},
            "strict": bool(strict),
            "allow_truncated": bool(allow_truncated),
            "fast_decode": bool(fast_decode),
        }
        return cls(os.fspath(path), options)

    @classmethod
    def lesson(cls, **options: Any) -> Network:
        """Opens the small network of the repository, which tells twelve solids apart, or says "nothing".

        It is looked for beside this package, and under `models/shapes` in the working directory and
        the folders above it. The options are those of `open`.

        Raises:
            WeightsError: It lies in none of these places.
        """
        here = pathlib.Path.cwd()
        places = [pathlib.Path(__file__).parent, *(up / "models" / "shapes" for up in (here, *here.parents))]
        for place in places:
            if (place / _LESSON).is_file():
                return cls.open(place / _LESSON, **options)
        raise WeightsError(
            f"{_LESSON} lies neither beside the package nor in models/shapes: run this in a clone of the "
            "repository, or open a file"
        )

    @property
    def labels(self) -> list[str] | None:
        """The names of the classes, or None where nothing names them."""
        return self._network.labels

    @property
    def device(self) -> dict[str, str]:
        """The adapter: name, backend, driver, driver_info, type."""
        device: dict[str, str] = json.loads(self._network.device)
        return device

    @property
    def batch(self) -> int:
        """Images that run together."""
        return self._network.batch

    def inspect(self) -> dict[str, Any]:
        """The network, every decision about it with evidence and confidence, and its layers.

        The same as `resnet inspect --format json` prints, without its `schema_version`.
        """
        inspection: dict[str, Any] = json.loads(self._network.inspection)
        return inspection

    # An array is one image or several. A text is a path, not the sequence of its characters.
    @overload
    def classify(self, images: Array, top: int = 5, *, errors: Errors = "raise") -> Any: ...
    @overload
    def classify(  # type: ignore[overload-overlap]
        self, images: Image, top: int = 5, *, errors: Literal["raise"] = "raise"
    ) -> list[Guess]: ...
    @overload
    def classify(
        self, images: Iterable[Image], top: int = 5, *, errors: Literal["raise"] = "raise"
    ) -> list[list[Guess]]: ...
    @overload
    def classify(  # type: ignore[overload-overlap]
        self, images: Image, top: int = 5, *, errors: Literal["return"]
    ) -> list[Guess] | ImageError: ...
    @overload
    def classify(
        self, images: Iterable[Image], top: int = 5, *, errors: Literal["return"]
    ) -> list[list[Guess] | ImageError]: ...
    def classify(self, images: Images, top: int = 5, *, errors: Errors = "raise") -> Any:
        """The most likely classes of an image, best first, or of each of several.

        Raises:
            WeightsError: The network has no classifier.
        """
        answers, single = self._answers(images, errors, scores=True)
        rows = answers.top(top)
        return rows[0] if single else rows

    def probabilities(self, images: Images, *, errors: Errors = "raise") -> Any:
        """The probabilities of all classes: float32 [classes] of an image, [images, classes] of several.

        With errors="return" several images give a list of rows and `ImageError`s.

        Raises:
            WeightsError: The network has no classifier.
        """
        answers, single = self._answers(images, errors, scores=True)
        return _rows(answers.probabilities, answers.errors, single, errors)

    def logits(self, images: Images, *, errors: Errors = "raise") -> Any:
        """The scores of all classes before their activation, otherwise as `probabilities`."""
        answers, single = self._answers(images, errors, scores=True)
        return _rows(answers.logits, answers.errors, single, errors)

    def embed(self, images: Images, normalize: bool = False, *, errors: Errors = "raise") -> Any:
        """What the classifier reads: float32 [features] of an image, [images, features] of several.

        With normalize=True each vector has length 1. With errors="return" several images give a list of
        rows and `ImageError`s.
        """
        answers, single = self._answers(images, errors)
        vectors = answers.embeddings
        if normalize:
            wide = vectors.astype(np.float64)
            length = np.sqrt(np.sum(wide * wide, axis=1, keepdims=True))
            vectors = (wide / np.where(length == 0.0, 1.0, length)).astype(np.float32)
        return _rows(vectors, answers.errors, single, errors)

    def predict(self, images: Images, *, errors: Errors = "raise") -> Answers:
        """Logits, probabilities and embeddings of images, all in one run; a single image has one row."""
        return self._answers(images, errors)[0]

    def tap(self, images: Images, name: str, *, errors: Errors = "raise") -> Any:
        """A value inside the network, by its name in `inspect()`: float32 [channels, rows, columns] of an
        image, [images, channels, rows, columns] of several.

        Raises:
            ResnetError: No value has this name.
        """
        if not isinstance(name, str):
            raise TypeError(f"a value inside the network has a name, not {type(name).__name__}")
        arrays, failures, single = self._infer(images, errors, name)
        taps = arrays.get("tap")
        return _rows(None if taps is None else _spread(taps, failures), failures, single, errors)

    def run(self, tensor: Any) -> dict[str, Floats]:
        """Runs images that are prepared already: float32 [images, channels, rows, columns].

        Returns `logits` and `probabilities` [images, classes] of a classifier, and `features`
        [images, features]. The tensor may be whatever has `__array_interface__` or DLPack on the CPU. Numbers
        that are none (NaN) give answers that are none.

        Raises:
            TypeError: It is no tensor.
            ValueError: The shape is not that of the network's input, or the numbers are not float32.
        """
        if not isinstance(tensor, (_HasArray, Array)):
            raise TypeError(f"expected an array or a tensor of float32, not {type(tensor).__name__}")
        array = _array(tensor)
        if array.dtype != np.float32 or array.ndim != 4:
            raise ValueError(
                f"expected float32 [images, channels, rows, columns], got {array.dtype} {list(array.shape)}"
            )
        if len(array) == 0:
            classes, features = self._network.widths
            scores = [] if classes is None else [("logits", classes), ("probabilities", classes)]
            return {name: np.zeros((0, width), np.float32) for name, width in [*scores, ("features", features)]}
        return self._network.run(np.require(array, requirements=["C", "A"]))

    def heat_map(self, image: Image, label: str | int | None = None) -> HeatMap:
        """What in an image speaks for a class, or for the most likely one.

        The class is given by its number, its label, or a part of a label, in letters of either case.
        What the latest four classes need is kept, which takes up to twice the weights' memory for each.

        Raises:
            WeightsError: The network has no classifier.
            ValueError: No class or several have this label.
        """
        found, single = one_or_many(image)
        if not single:
            raise ValueError("a heat map is of one image")
        asked = None if label is None else str(label)
        index, probability, values, overlay = self._network.heat_map(next(iter(found)), asked)
        return HeatMap(index, self._network.label(index), probability, values, overlay)

    def _infer(
        self, images: Images, errors: Errors, tap: str | None = None
    ) -> tuple[dict[str, Floats], list[ImageError | None], bool]:
        """Arrays of the images that could be read, what is wrong with each, and whether it is a single one."""
        if errors not in ("raise", "return"):
            raise ValueError(f"errors='{errors}': expected 'raise' or 'return'")
        found, single = one_or_many(images)
        arrays, bad = self._network.infer(found, tap, errors == "raise")
        read = len(next(iter(arrays.values()))) if arrays else 0
        failures: list[ImageError | None] = [None] * (read + len(bad))
        for index, error in bad:
            failures[index] = error
        return arrays, failures, single

    def _answers(self, images: Images, errors: Errors, scores: bool = False) -> tuple[Answers, bool]:
        classes, features = self._network.widths
        if scores:
            classes = self._network.classes()
        arrays, failures, single = self._infer(images, errors)

        def rows(name: str, width: int | None) -> Floats | None:
            none = np.zeros((0, width or 0), np.float32)
            return None if width is None else _spread(arrays.get(name, none), failures)

        embeddings = _spread(arrays.get("features", np.zeros((0, features), np.float32)), failures)
        answers = Answers(
            rows("logits", classes), rows("probabilities", classes), embeddings, failures, self.labels
        )
        return answers, single

    def __reduce__(self) -> tuple[Any, ...]:
        path = self._path if self._path.startswith("hf:") else os.path.abspath(self._path)
        return type(self), (path, self._options, True)

    def __repr__(self) -> str:
        name, device = self.inspect()["model"]["name"], self.device["name"]
        return f"<resnet_wgpu.Network {name} on {device}>"


def _open(path: str, options: dict[str, Any]) -> _native.Network:
    """Opens a network in this process, which may be a fork."""
    global _opened
    if _forked:
        if options["backend"] != "cpu":
            raise AdapterError(
                "this process was forked from one that had opened a network, and drivers of GPUs do not survive "
                'that: start it by "spawn" or "forkserver", or open the network with backend="cpu"'
            )
        # The threads that all networks share are those of the other process.
        options = {**options, "threads": options["threads"] or os.cpu_count()}
    _opened = True
    return _native.Network(path, options)  # type: ignore[arg-type]


def _count(name: str, value: Any, most: int) -> int:
    """A whole number of things, of which there are so many at most."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name}= must be a whole number, not {type(value).__name__}")
    count = operator.index(value)
    if not 1 <= count <= most:
        raise ValueError(f"{name}={count} must be at least 1 and at most {most}")
    return count


def _setting(value: str | int | bool) -> str:
    """A setting as the program has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _spread(rows: Floats, failures: list[ImageError | None]) -> Floats:
    """A row for each image: NaN where it could not be read."""
    if len(rows) == len(failures):
        return rows
    spread = np.full((len(failures), *rows.shape[1:]), np.nan, np.float32)
    spread[[index for index, error in enumerate(failures) if error is None]] = rows
    return spread


def _rows(rows: Floats | None, failures: list[ImageError | None], single: bool, errors: Errors) -> Any:
    """The rows as asked for: of one image, of all, or one by one with errors among them."""
    if rows is None:
        rows = np.zeros((len(failures), 0), np.float32)
    if errors == "raise":
        return rows[0] if single else rows
    mixed = [rows[index] if error is None else error for index, error in enumerate(failures)]
    return mixed[0] if single else mixed


def adapters() -> list[dict[str, Any]]:
    """The GPU adapters, best first: index, name, backend, driver, type, pci, features, limits, whether it is
    the one that is `chosen`, and why it is `unsuitable`, as `resnet devices --format json` prints them."""
    rows: list[dict[str, Any]] = json.loads(_native.adapters())
    return rows


def cuda_adapter() -> str | None:
    """The adapter that CUDA_VISIBLE_DEVICES names first, as `device=` takes it: "pci:" and its address.

    Ray sets the variable to the GPUs of an actor: by number in the order of their addresses, or by UUID.
    None if it is not set, or names no GPU.

    Raises:
        AdapterError: NVIDIA's driver has no such GPU here.
    """
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    if wanted in ("", "-1"):
        return None
    folder = pathlib.Path(_GPUS)
    addresses = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    if wanted.isdecimal() and int(wanted) < len(addresses):
        return f"pci:{addresses[int(wanted)]}"
    for address in addresses if wanted.startswith("GPU-") else ():
        if wanted in (folder / address / "information").read_text():
            return f"pci:{address}"
    raise AdapterError(
        f"CUDA_VISIBLE_DEVICES names '{wanted}', which is none of the {len(addresses)} GPUs of NVIDIA's driver"
    )
