"""What counts as an image, and as several."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO, Protocol, Union, runtime_checkable

import numpy as np
import numpy.typing as npt

from ._native import ImageError


@runtime_checkable
class _HasArray(Protocol):
    """Whatever numpy can look into: arrays of other libraries on the CPU."""

    @property
    def __array_interface__(self) -> dict[str, Any]: ...


@runtime_checkable
class Array(Protocol):
    """Whatever hands its memory on by DLPack: arrays of numpy, tensors of PyTorch, JAX and others on the CPU."""

    def __dlpack__(self, *, stream: Any = ...) -> Any: ...


Image = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, BinaryIO, _HasArray, Array]
"""A path, an image file in memory or open for reading, a `PIL.Image`, or uint8 pixels: rows, columns and channels."""

Images = Union[Image, Iterable[Image]]
"""An image, an array of several (rows, columns and channels behind their number; or objects, such as bytes, and
texts), or images one by one."""


def one_or_many(images: Images) -> tuple[Iterable[object], bool]:
    """What the native half reads, and whether it is a single image."""
    if isinstance(images, (str, os.PathLike, bytes, bytearray, memoryview)) or _is_pillow(images):
        return [_native(images)], True
    if isinstance(images, (_HasArray, Array)):
        array = _array(images)
        if array.ndim == 4:
            return map(_native, array), False
        # Paths or files, as columns of tables have them.
        if array.ndim == 1 and array.dtype.kind in "OUT":
            return map(_native, array.tolist()), False
        return [_native(array)], True
    if hasattr(images, "read"):
        return [_native(images)], True
    if not isinstance(images, Iterable) or isinstance(images, Mapping):
        raise TypeError(
            f"expected an image (a path, an open file, bytes, a PIL.Image, a uint8 array) or several, not "
            f"{type(images).__name__}"
        )
    return map(_native, images), False


def _native(image: Any) -> object:
    """An image in one of the forms that the native half knows, or why it is none."""
    if isinstance(image, (str, os.PathLike)):
        return os.fspath(image)
    if isinstance(image, (bytes, bytearray)):
        return image
    if isinstance(image, memoryview):
        return bytes(image)
    if hasattr(image, "read"):
        content = image.read()
        if isinstance(content, bytes):
            return content
        return ImageError("an open file gave text instead of bytes: open it with 'rb'")
    if image is None:
        return ImageError("None is no image")
    if _is_pillow(image):
        try:
            return np.asarray(image.convert("RGB"))
        except (OSError, ValueError, SyntaxError) as error:
            return ImageError(f"the PIL.Image cannot be decoded: {error}")
    if not isinstance(image, (_HasArray, Array)):
        return TypeError(
            f"expected a path, an open file, bytes, a PIL.Image or a uint8 array as an image, not "
            f"{type(image).__name__}"
        )
    array = _array(image)
    if array.ndim == 2:
        array = array[:, :, np.newaxis]
    if array.dtype != np.uint8 or array.ndim != 3:
        return ImageError(
            f"an array of shape {array.shape} of {array.dtype} is no image: expected uint8 rows, "
            "columns and channels; `run` takes tensors that are prepared already"
        )
    return np.ascontiguousarray(array)


def _array(image: Any) -> npt.NDArray[Any]:
    """The array in the same memory."""
    if isinstance(image, _HasArray):
        return np.asarray(image)
    array: npt.NDArray[Any] = np.from_dlpack(image)
    return array


def _is_pillow(image: object) -> bool:
    """Whether it is a `PIL.Image`, without importing Pillow."""
    return any(base.__module__ == "PIL.Image" and base.__name__ == "Image" for base in type(image).__mro__)
