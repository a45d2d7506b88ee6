"""Bad arguments of batch norm: the error names the argument, what was expected and what came."""

import re

import numpy as np
import pytest
from batch_norm_cases import call, convert

from dlbook import frameworks
from dlbook.batch_norm import Running

ONES, X = np.ones(4), np.arange(32.0).reshape(8, 4)


def ones(*shape):
    return np.ones(shape)


def running(*shape):
    return Running(ones(*shape), ones(*shape))


TRAIN = [
    (
        (X[:0], ONES, ONES),
        {},
        "x must hold at least one example to have a mean, got shape (0, 4), averaged over -2",
    ),
    ((ones(3, 0, 4), ONES, ONES), {}, "x must hold at least one example to have a mean, got shape (3, 0, 4)"),
    (
        (X, ones(3), ones(3)),
        {},
        "gamma must have one value per feature: shape (1, 4), from which leading axes may be missing; got (3,)",
    ),
    (
        (X, ones(1), ones(1)),
        {},
        "gamma must have one value per feature: shape (1, 4), from which leading axes may be missing; got (1,)",
    ),
    (
        (X, ones(8, 4), ones(8, 4)),
        {},
        "gamma must have one value per feature: shape (1, 4), from which leading axes may be missing; got (8, 4)",
    ),
    (
        (X, ones(), ones()),
        {},
        "gamma must have one value per feature: shape (1, 4), from which leading axes may be missing; got ()",
    ),
    ((X, ONES, ones(3)), {}, "beta must have the shape of gamma, (4,), got (3,)"),
    (
        (X, ONES, ONES, running(3)),
        {},
        "running.mean must have one value per feature: shape (1, 4), from which leading axes "
        "may be missing; got (3,)",
    ),
    (
        (X, ONES, ONES, Running(ONES, ones(5))),
        {},
        "running.var must have one value per feature: shape (1, 4), from which leading axes may be missing; got (5,)",
    ),
    (
        (ones(3, 8, 4), ONES, ONES, running(4)),
        {},
        "running.mean must have shape (3, 1, 4), one value per model and feature, got (4,)",
    ),
    ((X, ONES, ONES), {"axis": 2}, "axis must lie in [-2, 1] for an array with 2 axes, got 2"),
    ((X, ONES, ONES), {"axis": (0, 3)}, "axis must lie in [-2, 1] for an array with 2 axes, got (0, 3)"),
    ((X, ONES, ONES), {"axis": ()}, "axis must lie in [-2, 1] for an array with 2 axes, got ()"),
    (
        (X, ONES, ONES),
        {"axis": (0, -2)},
        "axis must name each axis once, got (0, -2) for an array with 2 axes",
    ),
    ((ONES, ONES, ONES), {}, "axis must lie in [-1, 0] for an array with 1 axes, got -2"),
    ((X, ONES, ONES), {"decay": 1.5}, "decay must lie in [0, 1], got 1.5"),
    ((X, ONES, ONES), {"decay": -0.1}, "decay must lie in [0, 1], got -0.1"),
    ((X, ONES, ONES), {"decay": float("nan")}, "decay must lie in [0, 1], got nan"),
    ((X, ONES, ONES), {"eps": -1e-5}, "eps must lie in [0, inf), got -1e-05"),
    ((X, ONES, ONES), {"eps": float("inf")}, "eps must lie in [0, inf), got inf"),
]
TEST = [
    (
        (X, ones(3), ones(3), running(4)),
        {},
        "gamma must have one value per feature of x, whose shape is (8, 4), got shape (3,)",
    ),
    (
        (X, ones(1), ones(1), running(4)),
        {},
        "gamma must have one value per feature of x, whose shape is (8, 4), got shape (1,)",
    ),
    (
        (X, ones(1, 1), ones(1, 1), running(1, 4)),
        {},
        "gamma must have as many features as running.mean, whose shape is (1, 4), got (1, 1)",
    ),
    (
        (X, ones(2, 1, 4), ones(2, 1, 4), running(4)),
        {},
        "gamma must have one value per feature of x, whose shape is (8, 4), got shape (2, 1, 4)",
    ),
    (
        (X, ONES, ONES, running(7)),
        {},
        "running.mean must have one value per feature of x, whose shape is (8, 4), got shape (7,)",
    ),
    (
        (X, ONES, ONES, Running(ONES, ones(1, 4))),
        {},
        "running.var must have the shape of running.mean, (4,), got (1, 4)",
    ),
    ((X, ONES, ones(1, 4), running(4)), {}, "beta must have the shape of gamma, (4,), got (1, 4)"),
    ((X, ONES, ONES, running(4)), {"eps": -1.0}, "eps must lie in [0, inf), got -1.0"),
]
FOLD = [
    (
        (ones(5, 4), ones(3), ONES, ONES, running(4)),
        {},
        "b must have one value per output of W, shape (4,) or (..., 1, 4), got (3,)",
    ),
    (
        (ones(5, 4), None, ones(3), ones(3), running(4)),
        {},
        "gamma must have one value per output of W, shape (4,) or (..., 1, 4), got (3,)",
    ),
    (
        (ones(5, 4), None, ONES, ONES, running(5)),
        {},
        "running.mean must have one value per output of W, shape (4,) or (..., 1, 4), got (5,)",
    ),
    (
        (ones(3, 5, 4), ones(3, 4), ONES, ONES, running(4)),
        {},
        "b must have one value per output of W, shape (4,) or (..., 1, 4), got (3, 4)",
    ),
    ((ONES, None, ONES, ONES, running(4)), {}, "W must have shape (..., in, out), got (4,)"),
    ((ones(5, 4), None, ONES, ONES, running(4)), {"eps": -1.0}, "eps must lie in [0, inf), got -1.0"),
]
VALUES = [
    (f"batch_norm_{name}", *case) for name, cases in (("train", TRAIN), ("test", TEST)) for case in cases
]
VALUES += [("fold", *case) for case in FOLD]


@pytest.mark.parametrize(("function", "arguments", "options", "message"), VALUES)
def test_a_bad_value_is_named(framework, function, arguments, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call(framework, function, *arguments, **options)


WHOLE = np.ones((8, 4), np.int64)
TYPES = [
    ("batch_norm_train", (WHOLE, ONES, ONES), {}, "x must hold floating-point numbers, got int64"),
    ("batch_norm_test", (WHOLE, ONES, ONES, running(4)), {}, "x must hold floating-point numbers, got int64"),
    ("batch_norm_train", (WHOLE > 0, ONES, ONES), {}, "x must hold floating-point numbers, got bool"),
    ("fold", (WHOLE, None, ONES, ONES, running(4)), {}, "W must hold floating-point numbers, got int64"),
    ("batch_norm_train", (X, ONES, ONES), {"decay": "0.9"}, "decay must be a number, got str"),
    ("batch_norm_train", (X, ONES, ONES), {"eps": None}, "eps must be a number, got NoneType"),
    ("batch_norm_train", (X, 1.0, 0.0), {}, "gamma must be an array, got float: 1.0"),
    ("batch_norm_test", (X, ONES, [1.0], running(4)), {}, "beta must be an array, got list: [1.0]"),
]


@pytest.mark.parametrize(("function", "arguments", "options", "message"), TYPES)
def test_a_bad_type_is_named(framework, function, arguments, options, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        call(framework, function, *arguments, **options)


def test_precise_statistics_refuse_whole_numbers_and_bad_axes(framework):
    module = frameworks.load("batch_norm", framework)
    with pytest.raises(TypeError, match="batches must hold floating-point numbers, got int64"):
        module.precise_statistics([convert(WHOLE, framework)])
    with pytest.raises(
        ValueError, match=re.escape("axis must lie in [-2, 1] for an array with 2 axes, got 5")
    ):
        module.precise_statistics([convert(X, framework)], axis=5)


def test_a_list_is_no_array(framework):
    module = frameworks.load("batch_norm", framework)
    with pytest.raises(TypeError, match="list"):
        module.batch_norm_train(X.tolist(), ONES, ONES)


def test_an_array_of_another_library_is_named(other_framework):
    module = frameworks.load("batch_norm", other_framework)
    x, gamma = convert(X, other_framework), convert(ONES, other_framework)
    message = (
        r"beta must be an array of the same library as x, .*Tensor, got numpy.ndarray: try dlbook.*from_numpy"
    )
    with pytest.raises(TypeError, match=message):
        module.batch_norm_train(x, gamma, ONES)
    with pytest.raises(TypeError, match=message.replace("beta", "running.mean")):
        module.batch_norm_test(x, gamma, gamma, running(4))


@pytest.mark.parametrize("features", [0, -3, 2.5, "4", None])
def test_a_layer_needs_a_number_of_features(framework, features):
    layer = frameworks.load("batch_norm", framework).BatchNorm
    message = f"features must be a whole number of at least 1, got {features!r}"
    with pytest.raises(ValueError, match=re.escape(message)):
        layer(features)


def test_a_layer_refuses_bad_numbers_before_the_first_batch(framework):
    layer = frameworks.load("batch_norm", framework).BatchNorm
    with pytest.raises(ValueError, match=re.escape("decay must lie in [0, 1], got 2")):
        layer(4, decay=2)
    with pytest.raises(ValueError, match=re.escape("eps must lie in [0, inf), got -1")):
        layer(4, eps=-1)
