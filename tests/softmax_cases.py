"""What the test files of softmax share: one call that runs in any framework, NumPy arrays in and out."""

import itertools

import numpy as np
import pytest
from batch_norm_cases import back, convert

from dlbook import frameworks

FUNCTIONS = ("softmax", "log_softmax", "hardmax", "logsumexp")
LOSSES = ("cross_entropy", "cross_entropy_backward")
REDUCTIONS = ("mean", "sum", "none")
# Where the classes lie: a row for each label, one row alone, images, classes in front, models in front.
SHAPES = {
    "rows": ((6, 4), -1),
    "one row": ((4,), 0),
    "images": ((3, 4, 2, 2), 1),
    "population": ((2, 5, 4), -1),
}
SHAPES["classes first"] = ((4, 6), 0)


def call(framework, name, *arguments, device="cpu", **options):
    """`dlbook.softmax.<framework>.<name>(*arguments, **options)` on NumPy arrays."""
    function = getattr(frameworks.load("softmax", framework), name)
    options = {key: convert(value, framework, device) for key, value in options.items()}
    return back(function(*(convert(a, framework, device) for a in arguments), **options))


def labels_shape(shape, axis):
    axis %= len(shape)
    return shape[:axis] + shape[axis + 1 :]


def problem(rng, shape=(6, 4), axis=-1, *, dtype="float64", probabilities=False):
    """Logits, and a target for each label."""
    z = rng.normal(0, 3, shape).astype(dtype)
    if probabilities:
        y = rng.uniform(size=shape)
        return z, (y / y.sum(axis, keepdims=True)).astype(dtype)
    return z, rng.integers(0, shape[axis], labels_shape(shape, axis))


def choices():
    """Every combination of the options of cross-entropy: a name, whether y are probabilities, the options."""
    for reduction, weighted, target, smoothing in itertools.product(
        REDUCTIONS, (False, True), ("labels", "ignore 2", "ignore 255", "probabilities"), (0.0, 0.1, 1.0)
    ):
        name = f"{reduction}, {target}, smoothing {smoothing}{', weighted' * weighted}"
        yield name, target, reduction, weighted, smoothing


CHOICES = {name: rest for name, *rest in choices()}


def chosen(name, rng, shape=(6, 4), axis=-1, dtype="float64"):
    """z, y and the options that a name in `CHOICES` stands for."""
    target, reduction, weighted, smoothing = CHOICES[name]
    z, y = problem(rng, shape, axis, dtype=dtype, probabilities=target == "probabilities")
    options = {"axis": axis, "reduction": reduction, "label_smoothing": smoothing}
    if weighted:
        options["weight"] = rng.uniform(0.2, 2, shape[axis]).astype(dtype)
    if target.startswith("ignore"):
        options["ignore_index"] = int(target.split()[1])
        y = np.where(rng.random(y.shape) < 0.3, options["ignore_index"], y)
        y[(0,) * y.ndim] = 1  # at least one label counts
    return z, y, options


def cast(a, framework, dtype):
    """A NumPy array as an array of `framework` with any of its floating dtypes."""
    if framework == "numpy":
        return a.astype(pytest.importorskip("ml_dtypes").bfloat16 if dtype == "bfloat16" else dtype)
    a = convert(a, framework)
    if framework == "torch":
        return a.to(getattr(pytest.importorskip("torch"), dtype))
    return pytest.importorskip("tensorflow").cast(a, dtype)


def name_of(a):
    return getattr(a.dtype, "name", str(a.dtype)).rpartition(".")[2]


def same(framework, a, b):
    """NumPy bit for bit; the others choose another order of summation for another shape."""
    if framework == "numpy":
        np.testing.assert_array_equal(a, b)
    else:
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
