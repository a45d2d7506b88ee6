"""Overhead curves: the time of one training step of 64-w-w-10 against the width w or the batch, fairly.

Fair means: warmed up before it is timed, one thread setting for all, a device that is waited for, several rounds in
which every way of running takes its turn, so that a busy moment of the machine hits all of them alike.
"""

import importlib.util
import json
import statistics
import time
from collections.abc import Callable, Sequence
from importlib import resources
from itertools import pairwise
from typing import NamedTuple

import numpy as np

FEATURES, CLASSES, LR = 64, 10, 0.01
ROUNDS = 5


class Way(NamedTuple):
    """A way of running the network: its name, how its step is made, what waits for the device before the clock stops.

    `settle` empties the device's queue after a turn, when the clock has stopped.
    """

    name: str
    make: Callable[[dict, np.ndarray, np.ndarray], Callable[[], object]]
    wait: Callable[[], object]
    settle: Callable[[], object]


class Point(NamedTuple):
    """What was measured at one width and batch: seconds a step, one number a round, for each way."""

    width: int
    batch: int
    seconds: dict[str, list[float]]
    first: dict[str, float]  # seconds of the very first step: tracing and compiling are in here


def problem(width: int, batch: int, seed: int = 0) -> tuple[dict, np.ndarray, np.ndarray]:
    """Parameters of 64-width-width-10, and a batch of random data: x (batch, 64) float32, y (batch,) int64."""
    rng = np.random.default_rng(seed)
    sizes = (FEATURES, width, width, CLASSES)
    params = {}
    for i, (n, m) in enumerate(pairwise(sizes), start=1):
        params[f"W{i}"] = rng.normal(0, (2 / n) ** 0.5, (n, m)).astype("float32")
        params[f"b{i}"] = np.zeros((1, m), "float32")
    x = rng.normal(size=(batch, FEATURES)).astype("float32")
    return params, x, rng.integers(0, CLASSES, batch)


def work(width: int, batch: int) -> float:
    """Floating-point operations of one step: two for each weight and example forward, four backward."""
    return 6.0 * batch * (FEATURES * width + width * width + width * CLASSES)


def measure(
    ways: Sequence[Way],
    width: int,
    batch: int,
    *,
    rounds: int = ROUNDS,
    seconds: float = 0.02,
    failed: dict[str, str] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Point:
    """One `Point`. Each way takes 3 steps unmeasured, and then its turn in every round, for about `seconds`.

    A step ends when the device has finished it, not when it has been asked to begin. With a dictionary `failed`, a
    way that raises is left out and its error kept there; without one the error is the caller's.
    """
    ready, first = [], {}
    for way in ways:
        try:
            step = way.make(*problem(width, batch))
            first[way.name], _, last = (_timed(step, way, clock) for _ in range(3))
        except Exception as error:
            if failed is None:
                raise
            failed[way.name] = f"{type(error).__name__}: {str(error)[:200]}"
            first.pop(way.name, None)
            continue
        ready.append((way, step, int(np.clip(seconds / max(last, 1e-9), 1, 30))))
        way.settle()
    measured = {way.name: [] for way, _, _ in ready}
    for _ in range(rounds):
        for way, step, calls in ready:
            measured[way.name].append(statistics.median(_timed(step, way, clock) for _ in range(calls)))
            way.settle()
    return Point(width, batch, measured, first)


def _timed(step: Callable, way: Way, clock: Callable[[], float]) -> float:
    start = clock()
    step()
    way.wait()
    return clock() - start


def ratios(point: Point, reference: str) -> dict[str, np.ndarray]:
    """Each way's time over that of `reference` in the same round: one number a round."""
    base = np.array(point.seconds[reference])
    return {name: np.array(values) / base for name, values in point.seconds.items()}


def stored(device: str = "cuda") -> tuple[dict, list[Point], list[Point]]:
    """What benchmarks/overhead.py measured on a machine with a GPU: about it, points over width, points over batch.

    Where a width was measured twice, for the eager and then for the compiled ways, the two are one point.
    """
    file = resources.files("dlbook.framework_choice") / f"overhead_{device}.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    widths, batches = (merged([Point(**point) for point in content[kind]]) for kind in ("widths", "batches"))
    return (
        {name: value for name, value in content.items() if name not in ("widths", "batches")},
        widths,
        batches,
    )


def merged(points: Sequence[Point]) -> list[Point]:
    """One point for each width and batch, in order; where a way was measured twice the first time counts."""
    found: dict[tuple[int, int], Point] = {}
    for point in points:
        old = found.get(point[:2], Point(*point[:2], {}, {}))
        found[point[:2]] = Point(*point[:2], point.seconds | old.seconds, point.first | old.first)
    return [found[place] for place in sorted(found)]


def nothing() -> None:
    """On a CPU a step is over when its call returns."""


def numpy_way() -> Way:
    from dlbook.framework_choice import numpy as choice_numpy

    def make(params, x, y):
        step = choice_numpy.sgd_step(choice_numpy.network(params), LR)
        return lambda: step(x, y)

    return Way("NumPy", make, nothing, nothing)


def cupy_way() -> Way:
    import cupy

    from dlbook.framework_choice import numpy as choice_numpy

    def make(params, x, y):
        net = {name: cupy.asarray(array) for name, array in params.items()}
        step, x, y = choice_numpy.sgd_step(net, LR), cupy.asarray(x), cupy.asarray(y)
        return lambda: step(x, y)

    wait = cupy.cuda.get_current_stream().synchronize
    return Way("CuPy", make, wait, wait)


def torch_way(device: str = "cpu", *, compiled: bool = False, waiting: bool = True) -> Way:
    """PyTorch, eager or compiled. `waiting=False` stops the clock early on a GPU: the wrong way to time."""
    import torch

    from dlbook.framework_choice import torch as choice_torch

    def make(params, x, y):
        net = choice_torch.network(params).to(device)
        step = choice_torch.sgd_step(net, LR, compiled=compiled)
        x, y = torch.from_numpy(x).to(device), torch.from_numpy(y).to(device)
        return lambda: step(x, y)

    name = "PyTorch, compiled" if compiled else "PyTorch, eager"
    settle = torch.cuda.synchronize if device == "cuda" else nothing
    if not waiting:
        return Way(f"{name}, not waited for", make, nothing, settle)
    return Way(name, make, settle, settle)


def keras_way(*, compiled: bool = False) -> Way:
    """Keras on TensorFlow's default device, eager or as a tf.function."""
    import tensorflow as tf

    from dlbook.framework_choice import tensorflow as choice_tensorflow

    def make(params, x, y):
        step = choice_tensorflow.sgd_step(choice_tensorflow.network(params), LR, compiled=compiled)
        x, y = tf.constant(x), tf.constant(y)
        return lambda: step(x, y).numpy()  # the number is asked for, so it has to be there

    return Way("Keras, tf.function" if compiled else "Keras, eager", make, nothing, nothing)


def cpu_ways() -> list[Way]:
    """The ways that this Python can run on the CPU without a C++ compiler."""
    ways = [numpy_way()]
    if importlib.util.find_spec("torch") is not None:
        ways.append(torch_way())
    if importlib.util.find_spec("tensorflow") is not None:
        ways += [keras_way(compiled=True), keras_way()]
    return ways
