"""The types that are written down are those of the module."""

import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent.parent


def check(*arguments: str) -> None:
    run = subprocess.run([sys.executable, "-m", *arguments], cwd=HERE, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_stub_is_that_of_the_native_half() -> None:
    check("mypy.stubtest", "resnet_wgpu._native")


def test_the_package_and_its_use_in_the_tests_are_typed() -> None:
    check("mypy", "--cache-dir", os.devnull)
