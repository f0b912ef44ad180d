"""Threads, processes, signals, and the interpreter's lock."""

import concurrent.futures
import multiprocessing
import pickle
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
from conftest import LESSON, PICTURES, quietly

from resnet_wgpu import AdapterError, Network


def test_threads_share_a_network(network: Network) -> None:
    want = network.logits(PICTURES)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for got in pool.map(network.logits, [PICTURES] * 8):
            np.testing.assert_array_equal(got, want)


def test_threads_of_a_pool_of_one_share_a_network() -> None:
    network = quietly(LESSON, backend="cpu", threads=1)
    want = network.logits(PICTURES)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for got in pool.map(network.logits, [PICTURES] * 8):
            np.testing.assert_array_equal(got, want)


def _logits(network: Network) -> Any:
    return network.logits(PICTURES[0]), network.batch


def test_a_pickle_opens_the_network_again_in_another_process() -> None:
    network = quietly(LESSON, backend="cpu", batch=3, threads=1)
    assert repr(pickle.loads(pickle.dumps(network))) == repr(network)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        logits, batch = pool.apply(_logits, (network,))
    np.testing.assert_array_equal(logits, network.logits(PICTURES[0]))
    assert batch == 3


def test_other_threads_of_python_go_on_meanwhile(on_cpu: Network) -> None:
    ticks = 0
    done = threading.Event()

    def count() -> None:
        nonlocal ticks
        while not done.is_set():
            ticks += 1
            time.sleep(0)

    thread = threading.Thread(target=count)
    thread.start()
    # A thread that never got the lock would not tick between the first image and the last.
    pixels = np.zeros((64, 64, 3), np.uint8)
    before = ticks
    on_cpu.logits([pixels] * 64)
    after = ticks
    done.set()
    thread.join()
    assert after - before > 64


def _interrupt(script: str) -> None:
    """Interrupts a script that says when it is running, and that it was interrupted."""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert (output, process.returncode) == ("interrupted\n", 0)


def test_an_interrupt_ends_a_long_call_soon() -> None:
    script = f"""
import itertools, sys, numpy, resnet_wgpu
network = resnet_wgpu.Network.open({str(LESSON)!r}, backend="cpu")
def images():
    for number in itertools.count():
        if number == 20:
            print("running", flush=True)
        yield numpy.zeros((64, 64, 3), numpy.uint8)
try:
    network.classify(images())
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    _interrupt(script)


def test_an_interrupt_ends_a_run_after_the_batch_at_hand() -> None:
    script = f"""
import threading, numpy, resnet_wgpu
network = resnet_wgpu.Network.open({str(LESSON)!r}, backend="cpu")
tensor = numpy.zeros((2000, 3, 64, 64), numpy.float32)
threading.Timer(0.5, lambda: print("running", flush=True)).start()
try:
    network.run(tensor)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    _interrupt(script)


def _in_a_fork(network: Network, answers: Any) -> None:
    fresh = quietly(LESSON, backend="cpu")
    answers.put((network.logits(PICTURES), fresh.logits(PICTURES)))


def test_a_fork_opens_its_networks_again() -> None:
    network = quietly(LESSON, backend="cpu")
    want = network.logits(PICTURES)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_in_a_fork, args=(network, answers))
    child.start()
    inherited, fresh = answers.get(timeout=120)
    child.join(120)
    np.testing.assert_array_equal(inherited, want)
    np.testing.assert_array_equal(fresh, want)
    assert child.exitcode == 0


def _refused_in_a_fork(answers: Any) -> None:
    try:
        Network.open(LESSON)
    except AdapterError as error:
        answers.put(str(error))


def test_a_fork_is_told_that_drivers_do_not_survive_it() -> None:
    quietly(LESSON, backend="cpu")
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_refused_in_a_fork, args=(answers,))
    child.start()
    assert "spawn" in answers.get(timeout=120)
    child.join(120)


def test_a_network_runs_on_as_many_threads_as_it_is_given() -> None:
    script = f"""
import contextlib, os, numpy, resnet_wgpu
network = resnet_wgpu.Network.open({str(LESSON)!r}, backend="cpu", threads=3)
network.logits([numpy.zeros((64, 64, 3), numpy.uint8)] * 9)
names = []
for task in os.listdir("/proc/self/task"):
    # Other threads come and go.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        names.append(open(f"/proc/self/task/{{task}}/comm").read())
print(len([name for name in names if name.startswith("resnet")]))
"""
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert run.stdout == "3\n"
