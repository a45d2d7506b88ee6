"""The words and checks for shapes: what passes, and what a wrong argument is told."""

import importlib
import math

import numpy as np
import pytest
from conftest import require
from hypothesis import given
from hypothesis import strategies as st

from dlbook import shapes
from dlbook.frameworks import from_numpy


def test_a_shape_is_a_plain_tuple_in_every_framework(framework):
    shape = shapes.shape_of(from_numpy(np.ones((2, 0, 3)), framework))
    assert shape == (2, 0, 3)
    assert [type(n) for n in shape] == [int, int, int]


def test_a_length_that_tensorflow_does_not_know_yet_is_none():
    require("tensorflow")
    import tensorflow as tf

    seen = []
    trace = tf.function(lambda x: seen.append(shapes.shape_of(x)), input_signature=[tf.TensorSpec((None, 3))])
    trace.get_concrete_function()
    assert seen == [(None, 3)]


@pytest.mark.parametrize("value", [[[1.0, 2.0]], 3.0, None])
def test_a_list_is_not_taken_for_an_array(value):
    with pytest.raises(TypeError, match=f"gamma must be an array, got {type(value).__name__}: "):
        shapes.shape_of(value, "gamma")


@given(data=st.data(), ndim=st.integers(1, 5))
def test_axes_are_those_that_numpy_averages_over(data, ndim):
    axis = data.draw(st.lists(st.integers(-ndim, ndim - 1), min_size=1, unique_by=lambda a: a % ndim))
    x = np.ones(range(2, 2 + ndim))
    theirs = x.mean(axis=tuple(axis), keepdims=True).shape
    assert shapes.statistics_shape(x.shape, shapes.axes(axis, ndim)) == theirs
    assert shapes.axes(tuple(axis), ndim) == tuple(sorted(a % ndim for a in axis))
    assert shapes.axes(axis[0], ndim) == (axis[0] % ndim,)


def test_an_axis_may_be_a_numpy_integer():
    assert shapes.axes(np.int64(-1), 3) == (2,)


@pytest.mark.parametrize("axis", [2, -3, (0, 2), (), 1.0, None, "0", (0, 0.5)])
def test_an_axis_outside_the_array_is_named_with_the_range(axis):
    with pytest.raises(
        ValueError, match=r"axis must lie in \[-2, 1\] for an array with 2 axes, got "
    ) as error:
        shapes.axes(axis, 2)
    assert str(error.value).endswith(repr(axis))


@pytest.mark.parametrize("axis", [(0, 0), (0, -2), [1, -1, 0]])
def test_an_axis_that_is_named_twice_is_an_error(axis):
    with pytest.raises(ValueError, match="axis must name each axis once"):
        shapes.axes(axis, 2)


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((4,), (1, 4)),
        ((1, 4), (1, 4)),
        ((3, 1, 4), (3, 1, 4)),
        ((None,), (1, 4)),
        ((4,), (1, None)),
        ((1,), (1, 1)),
    ],
)
def test_one_value_per_feature_passes_with_and_without_the_leading_axes(shape, wanted):
    shapes.check_per_feature("gamma", shape, wanted)


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((1,), (1, 4)),
        ((5,), (1, 4)),
        ((), (1, 4)),
        ((1, 1, 4), (1, 4)),
        ((4, 1), (1, 4)),
        ((2, 1, 4), (3, 1, 4)),
    ],
)
def test_another_number_of_values_is_told_both_shapes(shape, wanted):
    with pytest.raises(ValueError, match="gamma must have one value per feature: shape ") as error:
        shapes.check_per_feature("gamma", shape, wanted)
    assert str(wanted) in str(error.value)
    assert str(error.value).endswith(f"got {shape}")


@pytest.mark.parametrize("value", [0, 0.5, 1, np.float32(0.25), np.int64(1)])
def test_a_number_inside_its_range_passes(value):
    shapes.check_number("decay", value, 0, 1)


ENDS = [
    (dict(), "[0, 1]", (-0.1, 1.1)),
    (dict(open_low=True), "(0, 1]", (0, 1.1)),
    (dict(open_high=True), "[0, 1)", (-0.1, 1)),
    (dict(open_low=True, open_high=True), "(0, 1)", (0, 1)),
]


@pytest.mark.parametrize(("options", "interval", "outside"), ENDS)
def test_a_number_outside_is_told_the_interval_with_its_ends(options, interval, outside):
    for value in (*outside, math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="decay must lie in ") as error:
            shapes.check_number("decay", value, 0, 1, **options)
        assert str(error.value) == f"decay must lie in {interval}, got {value}"


def test_an_endless_interval_has_an_open_end_in_words_and_takes_large_numbers():
    shapes.check_number("eps", 1e300, 0, math.inf)
    with pytest.raises(ValueError, match=r"eps must lie in \[0, inf\), got -1"):
        shapes.check_number("eps", -1, 0, math.inf)


@pytest.mark.parametrize("value", ["0.5", None, [0.5], 0.5j])
def test_what_is_no_number_is_an_error_of_type(value):
    with pytest.raises(TypeError, match=f"decay must be a number, got {type(value).__name__}"):
        shapes.check_number("decay", value, 0, 1)


@pytest.mark.parametrize(
    ("dtype", "half"), [("float16", True), ("float32", False), ("float64", False), ("bfloat16", True)]
)
def test_floating_dtypes_pass_and_half_ones_are_known_in_every_framework(framework, dtype, half):
    if dtype == "bfloat16" and framework == "numpy":
        return  # NumPy has none
    dtype = np.dtype(dtype) if framework == "numpy" else getattr(importlib.import_module(framework), dtype)
    shapes.check_floating("x", dtype)
    assert shapes.is_half(dtype) == half


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool", "complex64"])
def test_whole_numbers_are_refused_with_the_way_out(framework, dtype):
    x = from_numpy(np.zeros(2, dtype), framework)
    with pytest.raises(TypeError, match=f"x must hold floating-point numbers, got {dtype}: convert it first"):
        shapes.check_floating("x", x.dtype)
    assert not shapes.is_half(x.dtype)


@pytest.mark.parametrize("dtype", ["float16", "float32", "int64", "uint8", "bool"])
def test_a_dtype_has_one_name_in_all_frameworks(framework, dtype):
    assert shapes.dtype_name(from_numpy(np.zeros(2, dtype), framework).dtype) == dtype


@given(
    shape=st.lists(st.integers(0, 4), max_size=4).map(tuple),
    other=st.lists(st.integers(0, 4), max_size=4).map(tuple),
)
def test_shapes_that_are_known_fit_where_they_are_the_same(shape, other):
    assert shapes.fits(shape, other) == (shape == other)
    assert shapes.fits(shape, (None,) * len(shape))
    assert shapes.fits((None,) * len(other), shape) == (len(other) == len(shape))


def test_arrays_of_one_library_may_be_used_together(framework):
    x, y = from_numpy([1.0], framework), from_numpy([2.0], framework)
    shapes.check_same_library("x", x, ("gamma", y), ("beta", x))
    shapes.check_same_library("x", x)


def test_subclasses_count_as_arrays_of_their_library():
    require("torch"), require("tensorflow")
    import torch
    import tensorflow as tf

    shapes.check_same_library("x", torch.ones(1), ("gamma", torch.nn.Parameter(torch.ones(1))))
    shapes.check_same_library("x", tf.ones(1), ("gamma", tf.Variable([1.0])))
    shapes.check_same_library("x", np.ones(1), ("gamma", np.ma.masked_array([1.0])), ("beta", np.float32(1)))


@pytest.mark.parametrize("kind", ["numpy", "tensorflow", "torch", "a list"])
def test_an_array_of_another_library_is_named_with_the_way_out(framework, kind):
    if kind == framework:
        return
    x = from_numpy([1.0], framework)
    other = [1.0] if kind == "a list" else from_numpy([1.0], require(kind))
    with pytest.raises(TypeError, match="gamma must be an array of the same library as x, ") as error:
        shapes.check_same_library("x", x, ("beta", x), ("gamma", other))
    assert f"got {type(other).__module__}.{type(other).__name__}: try dlbook" in str(error.value)
