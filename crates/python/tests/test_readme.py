"""The snippets of the README do what they say."""

import pathlib
import re
import subprocess
import sys

import PIL.Image
from conftest import LESSON, PICTURES, ROOT

# Seconds until a snippet is taken to have no end.
LONGEST = 600


def snippets() -> list[str]:
    """The fenced blocks of the section about Python."""
    [section] = re.findall(r"(?ms)^## Python\n(.*?)^## ", (ROOT / "README.md").read_text())
    return [block.strip() for block in re.findall(r"(?ms)^```\w+\n(.*?)^```", section)]


def test_the_snippets_run(tmp_path: pathlib.Path) -> None:
    (tmp_path / "resnet50.safetensors").symlink_to(LESSON)
    (tmp_path / "photos").mkdir()
    for number, picture in enumerate(PICTURES):
        image = PIL.Image.open(picture).convert("RGB")
        image.save(tmp_path / "photos" / f"{number}.jpg")
        image.save(tmp_path / ("cat.jpg" if number else "dog.jpg"))
    build, script, batch = snippets()
    assert build == "pip install ./crates/python"
    more = "assert vectors.shape == (2, 2048), vectors.shape\n"
    subprocess.run([sys.executable, "-c", f"{script}\n{more}"], check=True, cwd=tmp_path, timeout=LONGEST)
    # Ray starts by itself, on a machine of any number of cores.
    more = f"assert ray.data.read_parquet('answers/').count() == {len(PICTURES)}\n"
    subprocess.run([sys.executable, "-c", f"{batch}\n{more}"], check=True, cwd=tmp_path, timeout=LONGEST)
