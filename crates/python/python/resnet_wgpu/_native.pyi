"""The native half: errors, and a network whose images are paths, bytes, arrays and exceptions."""

from collections.abc import Iterable
from typing import TypedDict, final

import numpy as np
import numpy.typing as npt

__all__ = [
    "AdapterError",
    "AnswerError",
    "DeviceError",
    "ImageError",
    "Network",
    "ResnetError",
    "WeightsError",
    "__version__",
    "adapters",
]

__version__: str

class ResnetError(Exception): ...
class WeightsError(ResnetError): ...
class AdapterError(ResnetError): ...
class DeviceError(ResnetError): ...
class AnswerError(ResnetError): ...

class ImageError(ResnetError):
    index: int | None

class _Options(TypedDict):
    device: str | None
    backend: str | None
    precision: str
    batch: int | None
    threads: int | None
    size: tuple[int, int] | None
    preprocess: str | None
    labels: str | None
    entry: str | None
    variant: str | None
    activation: str | None
    settings: dict[str, str]
    strict: bool
    allow_truncated: bool
    fast_decode: bool

@final
class Network:
    def __new__(cls, path: str, options: _Options) -> Network: ...
    @property
    def device(self) -> str: ...
    @property
    def batch(self) -> int: ...
    @property
    def labels(self) -> list[str] | None: ...
    @property
    def inspection(self) -> str: ...
    @property
    def assumed(self) -> list[str]: ...
    @property
    def widths(self) -> tuple[int | None, int]: ...
    def classes(self) -> int: ...
    def label(self, class_: int, /) -> str: ...
    def infer(
        self, images: Iterable[object], tap: str | None, raises: bool
    ) -> tuple[dict[str, npt.NDArray[np.float32]], list[tuple[int, ImageError]]]: ...
    def run(self, tensor: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]: ...
    def heat_map(
        self, image: object, label: str | None
    ) -> tuple[int, float, npt.NDArray[np.float32], npt.NDArray[np.uint8]]: ...

def adapters() -> str: ...
