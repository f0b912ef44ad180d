"""All forms of images give the same numbers, and bad ones their errors."""

import io
import pathlib
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import PIL.Image
import pytest
from conftest import LESSON, PICTURES, quietly

from resnet_wgpu import ImageError, Network

PICTURE = PICTURES[0]
PIXELS = np.asarray(PIL.Image.open(PICTURE).convert("RGB"))


class Interface:
    """An array of some other library."""

    def __init__(self, array: Any) -> None:
        self.__array_interface__ = array.__array_interface__
        self.owner = array


class DLPack:
    """A tensor of some other library, on the CPU."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __dlpack__(self, **arguments: Any) -> Any:
        return self.array.__dlpack__(**arguments)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


@pytest.mark.parametrize(
    "image",
    [
        str(PICTURE),
        PICTURE.read_bytes(),
        bytearray(PICTURE.read_bytes()),
        memoryview(PICTURE.read_bytes()),
        PIL.Image.open(PICTURE),
        PIXELS,
        np.asfortranarray(PIXELS),
        np.dstack([PIXELS, PIXELS[..., :1]]),
        Interface(PIXELS),
        DLPack(PIXELS.copy()),
    ],
    ids="path bytes bytearray memoryview PIL array gaps alpha interface dlpack".split(),
)
def test_every_form_of_an_image_gives_the_same_numbers(on_cpu: Network, image: Any) -> None:
    want = on_cpu.probabilities(PICTURE)
    assert want.shape == (13,)
    np.testing.assert_array_equal(on_cpu.probabilities(image), want)
    np.testing.assert_array_equal(on_cpu.probabilities([image, image]), [want, want])
    assert on_cpu.heat_map(image).overlay.shape == PIXELS.shape


def test_grey_pixels_are_those_of_a_grey_picture(on_cpu: Network) -> None:
    grey = np.asarray(PIL.Image.open(PICTURE).convert("L"))
    want = on_cpu.logits(np.dstack([grey] * 3))
    for form in (grey, grey[:, :, np.newaxis], PIL.Image.fromarray(grey)):
        np.testing.assert_array_equal(on_cpu.logits(form), want)


def test_lists_generators_and_arrays_of_images_are_several(on_cpu: Network) -> None:
    want = on_cpu.logits(PICTURES)
    assert want.shape == (len(PICTURES), 13)

    def one_by_one() -> Iterator[pathlib.Path]:
        yield from PICTURES

    np.testing.assert_array_equal(on_cpu.logits(one_by_one()), want)
    np.testing.assert_array_equal(on_cpu.logits(tuple(PICTURES)), want)
    both = np.stack([PIXELS, PIXELS[::-1]])
    np.testing.assert_array_equal(on_cpu.logits(both), on_cpu.logits(list(both)))
    assert len(on_cpu.classify(both)) == 2
    for column in (np.array(list(map(str, PICTURES))), np.array([path.read_bytes() for path in PICTURES], object)):
        np.testing.assert_array_equal(on_cpu.logits(column), want)
    assert on_cpu.classify([]) == []
    assert on_cpu.logits([]).shape == (0, 13)
    assert on_cpu.embed(iter(())).shape == (0, 2048)


def test_pixels_are_read_where_they_lie(on_cpu: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    from resnet_wgpu import _images

    for image in (PIXELS, Interface(PIXELS), DLPack(PIXELS.copy())):
        memory = getattr(image, "owner", getattr(image, "array", image))
        assert np.shares_memory(_images._native(image), memory)


def test_an_image_that_cannot_be_read_raises_or_comes_back_in_its_place(on_cpu: Network, tmp_path: pathlib.Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(PICTURE.read_bytes()[:300])
    missing = tmp_path / "missing.png"
    images: list[Any] = [PICTURE, broken, PIXELS, missing, b"no picture", np.zeros((3, 8, 8), np.float32), tmp_path, PICTURE]
    with pytest.raises(ImageError, match="broken.png.*cut off.*allow_truncated=True") as raised:
        on_cpu.classify(images)
    assert raised.value.index == 1

    results = on_cpu.classify(images, errors="return")
    bad = {index: result for index, result in enumerate(results) if isinstance(result, ImageError)}
    assert list(bad) == [error.index for error in bad.values()] == [1, 3, 4, 5, 6]
    assert "missing.png" in str(bad[3]) and "#4" in str(bad[4])
    assert "float32" in str(bad[5]) and "run" in str(bad[5])
    good = on_cpu.classify(PICTURE)
    assert results[0] == results[7] == good

    answers = on_cpu.predict(images, errors="return")
    assert [error is not None for error in answers.errors] == [isinstance(row, ImageError) for row in results]
    assert np.isnan(answers.embeddings[[1, 3, 4, 5, 6]]).all() and np.isfinite(answers.embeddings[[0, 2, 7]]).all()
    for call in (on_cpu.logits, on_cpu.probabilities, on_cpu.embed):
        rows = call(images, errors="return")
        assert [isinstance(row, ImageError) for row in rows] == [isinstance(row, ImageError) for row in results]
    assert isinstance(on_cpu.tap(images, "fc13", errors="return")[3], ImageError)
    assert isinstance(on_cpu.classify(broken, errors="return"), ImageError)
    none = on_cpu.predict([broken], errors="return")
    assert none.embeddings.shape == (1, 2048) and none.logits is not None and none.logits.shape == (1, 13)


def test_what_is_no_image_is_a_mistake_of_the_caller(on_cpu: Network) -> None:
    wrong: Any
    for wrong in (3, None, [PICTURE, 3], object()):
        with pytest.raises(TypeError, match="expected"):
            on_cpu.classify(wrong, errors="return")
    with pytest.raises(ValueError, match="'raise' or 'return'"):
        on_cpu.classify(PICTURE, errors="ignore")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="one image"):
        on_cpu.heat_map(np.stack([PIXELS, PIXELS]))

    def failing() -> Iterator[pathlib.Path]:
        yield PICTURE
        raise KeyError("of the caller")

    with pytest.raises(KeyError, match="of the caller"):
        on_cpu.classify(failing())


def test_prepared_tensors_run_as_they_are() -> None:
    network = quietly(LESSON, backend="cpu", batch=2)
    image = PIXELS[: PIXELS.shape[0] // 64 * 64, : PIXELS.shape[1] // 64 * 64]
    tile = np.ascontiguousarray(image[:64, :64])
    rules = network.inspect()["preprocess"]
    mean, std = np.float64(rules["mean"]), np.float64(rules["std"])
    tensor = ((tile / 255 - mean) / std).astype(np.float32).transpose(2, 0, 1)[np.newaxis]
    got = network.run(np.repeat(tensor, 3, axis=0))
    assert sorted(got) == ["features", "logits", "probabilities"]
    np.testing.assert_allclose(got["logits"], [network.logits(tile)] * 3, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(network.run(DLPack(tensor.copy()))["logits"][0], got["logits"][2])
    none = network.run(tensor[:0])
    assert {name: rows.shape for name, rows in none.items()} == {
        name: (0, rows.shape[1]) for name, rows in got.items()
    }
    with pytest.raises(TypeError, match="not list"):
        network.run([[1.0]])
    wrong: Any
    for wrong in (tensor[0], tensor.astype(np.float64)):
        with pytest.raises(ValueError, match="float32"):
            network.run(wrong)
    with pytest.raises(ValueError, match="expected shape"):
        network.run(tensor[:, :, :32])


def test_open_files_are_images_and_what_is_none_is_told(on_cpu: Network) -> None:
    want = on_cpu.logits(PICTURES[0])
    content = pathlib.Path(PICTURES[0]).read_bytes()
    with open(PICTURES[0], "rb") as file:
        np.testing.assert_array_equal(on_cpu.logits(file), want)
    np.testing.assert_array_equal(on_cpu.logits([io.BytesIO(content)])[0], want)
    mixed: list[Any] = [None, io.StringIO("text"), content]
    rows = on_cpu.logits(mixed, errors="return")
    assert [type(row) for row in rows] == [ImageError, ImageError, np.ndarray]
    with pytest.raises(ImageError, match="None is no image"):
        on_cpu.classify(mixed)
    with pytest.raises(TypeError, match="not dict"):
        on_cpu.classify({"bytes": content})


def test_answers_are_values(on_cpu: Network) -> None:
    answers = on_cpu.predict(PICTURES[:2])
    again = pickle.loads(pickle.dumps(answers))
    assert len(again) == 2
    assert again.top(1) == answers.top(1)
    with pytest.raises(ValueError, match="-1 guesses"):
        answers.top(-1)
