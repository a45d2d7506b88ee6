"""Bad arguments of softmax and cross-entropy: the error names the argument, what was expected and what came."""

import re

import numpy as np
import pytest
from batch_norm_cases import convert
from softmax_cases import FUNCTIONS, LOSSES, call

from dlbook import frameworks

Z = np.arange(8.0).reshape(2, 4)
Y = np.array([3, 0])
P = np.full((2, 4), 0.25)
INF, NAN = float("inf"), float("nan")


def ones(*shape):
    return np.ones(shape)


LOGITS = [
    (ones(), {}, ValueError, "z must have an axis of classes, got a single number of shape ()"),
    (ones(3, 0), {}, ValueError, "z must have at least one class along axis -1, got shape (3, 0)"),
    (ones(0, 3), {"axis": 0}, ValueError, "z must have at least one class along axis 0, got shape (0, 3)"),
    (Z, {"axis": 2}, ValueError, "axis must lie in [-2, 1] for an array with 2 axes, got 2"),
    (Z, {"axis": -3}, ValueError, "axis must lie in [-2, 1] for an array with 2 axes, got -3"),
    (Z, {"axis": None}, TypeError, "axis must be one whole number, got None"),
    (Z, {"axis": (0, 1)}, TypeError, "axis must be one whole number, got (0, 1)"),
    (Z, {"axis": 1.0}, TypeError, "axis must be one whole number, got 1.0"),
    (Z.astype(np.int64), {}, TypeError, "z must hold floating-point numbers, got int64"),
    (Z > 0, {}, TypeError, "z must hold floating-point numbers, got bool"),
]


@pytest.mark.parametrize("name", FUNCTIONS + LOSSES)
@pytest.mark.parametrize(("z", "options", "error", "message"), LOGITS)
def test_bad_logits_are_named(framework, name, z, options, error, message):
    arguments = (z, Y) if name in LOSSES else (z,)
    with pytest.raises(error, match=re.escape(message)):
        call(framework, name, *arguments, **options)


@pytest.mark.parametrize("name", FUNCTIONS + LOSSES)
@pytest.mark.parametrize("z", [[[1.0, 2.0]], 3.0, None])
def test_a_list_is_no_array(framework, name, z):
    function = getattr(frameworks.load("softmax", framework), name)
    with pytest.raises(TypeError, match=f"z must be an array, got {type(z).__name__}: "):
        function(z, Y) if name in LOSSES else function(z)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("temperature", [0, 0.0, -1.0, INF, -INF, NAN])
def test_a_temperature_must_be_above_0_and_finite(framework, name, temperature):
    message = f"temperature must lie in (0, inf), got {temperature}"
    with pytest.raises(ValueError, match=re.escape(message)):
        call(framework, name, Z, temperature=temperature)


@pytest.mark.parametrize("temperature", ["1", None, [1.0], np.ones(1)])
def test_a_temperature_is_a_number(framework, temperature):
    with pytest.raises(TypeError, match="temperature must be a number, got "):
        call(framework, "softmax", Z, temperature=temperature)


VALUES = [
    (
        (Z, Y[:1]),
        {},
        "y must have shape (2,) for class indices, z without its class axis, or (2, 4) for probabil",
    ),
    ((Z, Y[:, None]), {}, "or (2, 4) for probabilities, got (2, 1)"),
    ((Z, P[:, :3]), {}, "or (2, 4) for probabilities, got (2, 3)"),
    ((Z, P[:1]), {}, "or (2, 4) for probabilities, got (1, 4)"),
    ((Z, Y), {"axis": 0}, "y must have shape (4,) for class indices"),
    ((Z[0], Y), {}, "y must have shape () for class indices, z without its class axis, or (4,) for"),
    (
        (Z, np.array([3, 4])),
        {},
        "y must lie in [0, 4), the classes of z, got 4: try ignore_index=4 if it stands",
    ),
    ((Z, np.array([3, -1])), {}, "y must lie in [0, 4), the classes of z, got -1: try ignore_index=-1"),
    ((Z, np.array([255, -100])), {}, "got -100"),
    ((Z, np.array([255, 0])), {"ignore_index": -100}, "y must lie in [0, 4), the classes of z, got 255"),
    ((Z, np.array([-1, 255])), {"ignore_index": 255}, "y must lie in [0, 4), the classes of z, got -1"),
    ((Z, np.array([2**40, 0])), {}, f"got {2**40}"),
    ((Z, Y), {"reduction": "avg"}, "reduction must be one of mean, sum, none, got 'avg'"),
    ((Z, Y), {"reduction": None}, "reduction must be one of mean, sum, none, got None"),
    ((Z, Y), {"label_smoothing": 1.2}, "label_smoothing must lie in [0, 1], got 1.2"),
    ((Z, Y), {"label_smoothing": -0.1}, "label_smoothing must lie in [0, 1], got -0.1"),
    ((Z, Y), {"label_smoothing": NAN}, "label_smoothing must lie in [0, 1], got nan"),
    ((Z, Y), {"weight": ones(3)}, "weight must have one number per class, shape (4,), got (3,)"),
    ((Z, Y), {"weight": ones(1)}, "weight must have one number per class, shape (4,), got (1,)"),
    ((Z, Y), {"weight": ones(2, 4)}, "weight must have one number per class, shape (4,), got (2, 4)"),
    ((Z, P), {"weight": ones(4), "axis": 0}, "weight must have one number per class, shape (2,), got (4,)"),
    (
        (Z, Y),
        {"weight": np.array([1, 1, -1.0, 1])},
        "weight must hold finite numbers of at least 0, got -1.0",
    ),
    ((Z, Y), {"weight": np.array([1, 1, 1, INF])}, "weight must hold finite numbers of at least 0, got inf"),
    ((Z, P), {"weight": np.array([NAN, 1, 1, 1])}, "weight must hold finite numbers of at least 0, got nan"),
    ((Z, P), {"ignore_index": 1}, "ignore_index must be None where y holds probabilities, got 1"),
]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("arguments", "options", "message"), VALUES)
def test_a_bad_value_is_named(framework, name, arguments, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call(framework, name, *arguments, **options)


TYPES = [
    (
        (Z, Y.astype(float)),
        {},
        "y of shape (2,) must hold whole numbers, the index of a class for each label, got",
    ),
    ((Z, np.array([0.5, 1])), {}, "got float64: convert it, say to int64"),
    (
        (Z, Y > 0),
        {},
        "y of shape (2,) must hold whole numbers, the index of a class for each label, got bool",
    ),
    (
        (Z, np.eye(4, dtype=np.int64)[Y]),
        {},
        "so it must hold probabilities in floating point, got int64: convert",
    ),
    ((Z, P > 0), {}, "so it must hold probabilities in floating point, got bool"),
    ((Z, [3, 0]), {}, "y must be an array, got list: [3, 0]"),
    ((Z, 3), {}, "y must be an array, got int: 3"),
    ((Z, Y), {"weight": [1.0] * 4}, "weight must be an array, got list"),
    ((Z, Y), {"weight": np.ones(4, np.int64)}, "weight must hold floating-point numbers, got int64"),
    ((Z, Y), {"label_smoothing": "0.1"}, "label_smoothing must be a number, got str"),
    ((Z, Y), {"ignore_index": 1.5}, "ignore_index must be a whole number or None, got 1.5"),
    ((Z, Y), {"ignore_index": "255"}, "ignore_index must be a whole number or None, got '255'"),
]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("arguments", "options", "message"), TYPES)
def test_a_bad_type_is_named(framework, name, arguments, options, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        call(framework, name, *arguments, **options)


@pytest.mark.parametrize("name", LOSSES)
def test_an_array_of_another_library_is_named(other_framework, name):
    function = getattr(frameworks.load("softmax", other_framework), name)
    z, y = convert(Z, other_framework), convert(Y, other_framework)
    message = "must be an array of the same library as z, .*Tensor, got numpy.ndarray: try dlbook.*from_numpy"
    with pytest.raises(TypeError, match=f"y {message}"):
        function(z, Y)
    with pytest.raises(TypeError, match=f"weight {message}"):
        function(z, y, weight=ones(4))


@pytest.mark.parametrize("size", [0, -3, 2.5, "4", None])
def test_a_model_needs_a_number_of_features_and_classes(framework, size):
    model = frameworks.load("softmax", framework).SoftmaxRegression
    for name, sizes in (("features", (size, 3)), ("classes", (2, size))):
        message = f"{name} must be a whole number of at least 1, got {size!r}"
        with pytest.raises(ValueError, match=re.escape(message)):
            model(*sizes)


def test_what_a_graph_knows_while_tracing_is_refused_while_tracing():
    tf = pytest.importorskip("tensorflow")
    function = frameworks.load("softmax", "tensorflow").cross_entropy
    for z, y, message in (
        ((None, 4), (None, 3), "or (None, 4) for probabilities, got (None, 3)"),
        ((None, 4), (None, 4, 1), "got (None, 4, 1)"),
        ((7, None), (6,), "y must have shape (7,) for class indices"),
    ):
        graph = tf.function(function, input_signature=[tf.TensorSpec(z), tf.TensorSpec(y, tf.int64)])
        with pytest.raises(ValueError, match=re.escape(message)):
            graph.get_concrete_function()
