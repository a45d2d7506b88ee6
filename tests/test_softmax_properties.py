"""What softmax and cross-entropy must do for all logits: shapes, dtypes, hard numbers."""

import numpy as np
import pytest
from batch_norm_cases import back, convert
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from softmax_cases import (
    CHOICES,
    FUNCTIONS,
    LOSSES,
    REDUCTIONS,
    call,
    cast,
    chosen,
    labels_shape,
    name_of,
    problem,
    same,
)

from dlbook import frameworks

few = settings(max_examples=15)  # an operation of TensorFlow costs more than one of NumPy
seeds = st.integers(0, 2**32 - 1)
choices = st.sampled_from(list(CHOICES))
shapes = st.lists(st.integers(0, 4), max_size=2).flatmap(
    lambda rest: st.tuples(st.just(rest), st.integers(1, 6), st.integers(0, len(rest)))
)
# Any number that float32 holds, the largest too; those below 1e-38 TensorFlow rounds to 0.
logits = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 6)),
    elements=st.floats(width=32, allow_subnormal=False),
)
finite = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 6)),
    elements=st.floats(-(2.0**126), 2.0**126, width=32, allow_subnormal=False),
)


def placed(shape):
    """A shape with the class axis at its place, and that axis."""
    rest, classes, axis = shape
    return (*rest[:axis], classes, *rest[axis:]), axis


@few
@given(shapes, seeds)
@example(([], 3, 0), 0)
@example(([0], 3, 1), 0)
def test_shapes_are_kept(framework, shape, seed):
    shape, axis = placed(shape)
    z, y = problem(np.random.default_rng(seed), shape, axis)
    for at in (axis, axis - len(shape)):
        for name in FUNCTIONS:
            wanted = labels_shape(shape, axis) if name == "logsumexp" else shape
            assert call(framework, name, z, axis=at).shape == wanted
        for reduction in REDUCTIONS:
            loss, slope = (call(framework, name, z, y, axis=at, reduction=reduction) for name in LOSSES)
            assert loss.shape == (labels_shape(shape, axis) if reduction == "none" else ())
            assert slope.shape == shape


@given(finite)
def test_probabilities_lie_in_0_to_1_and_sum_to_1(framework, z):
    p = call(framework, "softmax", z)
    assert (p >= 0).all()
    assert (p <= 1).all()
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-5)
    hard = call(framework, "hardmax", z)
    np.testing.assert_array_equal(hard.sum(-1), 1)
    np.testing.assert_array_equal((hard * p).sum(-1), p.max(-1))
    np.testing.assert_array_equal(hard.argmax(-1), z.argmax(-1))


@given(finite)
def test_a_smooth_maximum_lies_between_the_largest_and_log_c_above(framework, z):
    total, largest = call(framework, "logsumexp", z), z.max(-1)
    slack = 1e-6 * (1 + np.abs(largest))
    assert (total >= largest).all()
    assert (total <= largest + np.log(z.shape[-1]) + slack).all()
    log_p = call(framework, "log_softmax", z)
    assert (log_p <= 0).all()
    np.testing.assert_allclose(log_p, z - total[:, None], rtol=1e-5, atol=1e-5 * np.abs(z).max() + 1e-5)


@given(logits)
def test_no_logit_makes_a_wrong_number_without_a_word(framework, z):
    """Whatever comes in, each row is a distribution or all NaN, and NaN exactly where no distribution exists."""
    p, loss = (
        call(framework, "softmax", z),
        call(framework, "cross_entropy", z, np.zeros(len(z), int), reduction="none"),
    )
    hopeless = np.isnan(z).any(-1) | (z == np.inf).any(-1) | (z == -np.inf).all(-1)
    np.testing.assert_array_equal(np.isnan(p), hopeless[:, None] | np.zeros_like(z, bool))
    np.testing.assert_allclose(p[~hopeless].sum(-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(np.isnan(loss), hopeless)
    assert (loss[~hopeless] >= 0).all()


@given(finite, st.integers(-1000, 1000))
def test_the_same_number_added_to_all_logits_changes_nothing(framework, z, shift):
    z = np.clip(z, -1000, 1000).round()  # whole numbers, so that the sum is exact
    moved = z + np.float32(shift)
    y = np.arange(len(z)) % z.shape[-1]
    for name in ("softmax", "log_softmax", "hardmax"):
        np.testing.assert_array_equal(call(framework, name, moved), call(framework, name, z))
    for name in LOSSES:
        np.testing.assert_array_equal(call(framework, name, moved, y), call(framework, name, z, y))
    np.testing.assert_allclose(
        call(framework, "logsumexp", moved), call(framework, "logsumexp", z) + shift, rtol=1e-6, atol=1e-4
    )


@few
@given(choices, seeds)
def test_the_gradient_of_each_row_sums_to_0(framework, choice, seed):
    z, y, options = chosen(choice, np.random.default_rng(seed), (3, 4, 2), 1)
    slope = call(framework, "cross_entropy_backward", z, y, **options)
    np.testing.assert_allclose(slope.sum(1), 0, atol=1e-14 * max(1, np.abs(slope).max()))
    assert np.abs(slope).max() > 0


@few
@given(choices, st.permutations(range(4)), st.permutations(range(6)), seeds)
def test_permuting_rows_and_classes_permutes_the_result(framework, choice, classes, rows, seed):
    z, y, options = chosen(choice, np.random.default_rng(seed))
    there = np.argsort(classes)
    if y.ndim == 2:
        new_y = y[rows][:, classes]
    else:
        known = (y >= 0) & (y < 4)
        new_y = np.where(known, there[np.where(known, y, 0)], y)[rows]
    moved = dict(options)
    if "weight" in options:
        moved["weight"] = options["weight"][list(classes)]
    if options.get("ignore_index", 4) < 4:
        moved["ignore_index"] = int(there[options["ignore_index"]])
    new_z = z[rows][:, classes]
    for name in FUNCTIONS:
        got, wanted = call(framework, name, new_z), call(framework, name, z)[rows]
        np.testing.assert_allclose(got, wanted if wanted.ndim == 1 else wanted[:, classes], rtol=1e-12)
    loss, slope = (call(framework, name, new_z, new_y, **moved) for name in LOSSES)
    wanted, wanted_slope = (call(framework, name, z, y, **options) for name in LOSSES)
    np.testing.assert_allclose(loss, wanted[rows] if wanted.ndim else wanted, rtol=1e-10)
    np.testing.assert_allclose(slope, wanted_slope[rows][:, classes], rtol=1e-9, atol=1e-14)


@given(
    st.integers(1, 4), st.integers(1, 9), st.integers(1, 20), st.sampled_from(["float32", "float64"]), seeds
)
def test_a_numpy_population_is_each_model_alone_bit_for_bit(models, batch, classes, dtype, seed):
    z, y = problem(np.random.default_rng(seed), (models, batch, classes), dtype=dtype)
    together = [call("numpy", name, z) for name in FUNCTIONS]
    together += [call("numpy", name, z, y, reduction="none") for name in LOSSES]
    for k in range(models):
        alone = [call("numpy", name, z[k]) for name in FUNCTIONS]
        alone += [call("numpy", name, z[k], y[k], reduction="none") for name in LOSSES]
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_array_equal(a[k], b)


def test_a_model_of_nan_leaves_its_neighbours_untouched(framework, rng):
    z, y = problem(rng, (3, 5, 4))
    spoilt = z.copy()
    spoilt[1] = np.nan

    def everything(z):
        results = [call(framework, name, z) for name in FUNCTIONS]
        return results + [call(framework, name, z, y, reduction="none") for name in LOSSES]

    for a, b in zip(everything(z), everything(spoilt), strict=True):
        np.testing.assert_array_equal(a[[0, 2]], b[[0, 2]])
        assert np.isnan(b[1]).all()


@few
@given(st.sampled_from(FUNCTIONS), st.integers(0, 2), seeds)
def test_other_axes_are_each_alone(framework, name, axis, seed):
    z = np.random.default_rng(seed).normal(size=(3, 4, 5))
    together = call(framework, name, z, axis=axis)
    last = call(framework, name, np.moveaxis(z, axis, -1))
    same("torch", together, last if name == "logsumexp" else np.moveaxis(last, -1, axis))


HALVES = {"float16": 2e-3, "bfloat16": 2e-2}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_dtype_of_z_comes_back_and_the_sums_are_made_in_float32_at_least(framework, dtype, rng):
    module = frameworks.load("softmax", framework)
    z, y = problem(rng, (16, 50))
    _, p = problem(rng, (16, 50), probabilities=True)
    z, y, p, weight = (
        cast(z, framework, dtype),
        convert(y, framework),
        convert(p, framework),
        rng.uniform(1, 2, 50),
    )
    exact, tolerance = back(z).astype("float64"), HALVES.get(dtype, 1e-5)
    for name in FUNCTIONS:
        got = getattr(module, name)(z)
        assert name_of(got) == dtype
        np.testing.assert_allclose(back(got), call("numpy", name, exact), rtol=tolerance, atol=1e-6)
    for name in LOSSES:
        for target in (y, p):
            for reduction in REDUCTIONS:
                options = {"reduction": reduction, "label_smoothing": 0.1}
                got = getattr(module, name)(z, target, weight=convert(weight, framework), **options)
                assert name_of(got) == dtype
                wanted = call("numpy", name, exact, back(target), weight=weight, **options)
                np.testing.assert_allclose(back(got), wanted, rtol=tolerance, atol=tolerance / 10)


def test_a_mean_of_many_float16_losses_is_right(framework):
    """Their sum is 100,000, and float16 ends at 65504; a running sum in it stops at 2048."""
    z = np.zeros((50_000, 8), np.float16)
    y = np.zeros(50_000, np.int64)
    loss = call(framework, "cross_entropy", z, y)
    assert loss.dtype == np.float16
    np.testing.assert_allclose(loss, np.log(8), rtol=1e-3)
    assert np.isinf(call(framework, "cross_entropy", z, y, reduction="sum"))


@few
@given(st.integers(-30, 30), seeds)
def test_huge_and_tiny_float32_logits_agree_with_float64(framework, power, seed):
    z, y = problem(np.random.default_rng(seed))
    z = (z * 10.0**power).astype(np.float32)
    for name in ("softmax", "log_softmax", "logsumexp"):
        wanted = call("numpy", name, z.astype(np.float64))
        np.testing.assert_allclose(call(framework, name, z), wanted, rtol=1e-4, atol=1e-6)
    for name in LOSSES:
        wanted = call("numpy", name, z.astype(np.float64), y)
        np.testing.assert_allclose(call(framework, name, z, y), wanted, rtol=1e-4, atol=1e-6)


def test_strided_and_read_only_arrays_are_as_good_as_any(framework, rng):
    module = frameworks.load("softmax", framework)
    z, y = problem(rng)
    _, p = problem(rng, probabilities=True)
    weight = rng.uniform(size=4)
    wide, tall, twice = np.repeat(z, 2, axis=1), np.ascontiguousarray(z.T), np.repeat(y, 2)
    if framework == "numpy":
        for a in (wide, tall, twice, p, weight):
            a.flags.writeable = False
        views, labels = [wide[:, ::2], tall.T], twice[::2]
    else:
        views = [convert(wide, framework)[:, ::2], transpose(convert(tall, framework))]
        labels = convert(twice, framework)[::2]
    p_here, weight_here = convert(p, framework), convert(weight, framework)
    for view in views:
        for name in FUNCTIONS:
            got = getattr(module, name)(view)
            np.testing.assert_allclose(back(got), call("numpy", name, z), rtol=1e-12, atol=1e-13)
        for name in LOSSES:
            for target, numpys in ((labels, y), (p_here, p)):
                got = getattr(module, name)(view, target, weight=weight_here)
                wanted = call("numpy", name, z, numpys, weight=weight)
                np.testing.assert_allclose(back(got), wanted, rtol=1e-12, atol=1e-13)


def transpose(a):
    return a.T if hasattr(a, "T") else pytest.importorskip("tensorflow").transpose(a)


def test_inputs_are_never_modified(framework, rng):
    module = frameworks.load("softmax", framework)
    z, y = problem(rng)
    _, p = problem(rng, probabilities=True)
    z[0, 1], y[2] = -np.inf, 255
    before = [z, y, p, rng.uniform(size=4)]
    arrays = [convert(a.copy(), framework) for a in before]
    z, y, p, weight = arrays
    for name in FUNCTIONS:
        getattr(module, name)(z)
    for name in LOSSES:
        getattr(module, name)(z, y, weight=weight, ignore_index=255, label_smoothing=0.1)
        getattr(module, name)(z, p, weight=weight, label_smoothing=0.1)
    for a, b in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(back(a), b)


def test_nothing_is_printed(framework, rng, capfd):
    z, y = problem(rng)
    for name in FUNCTIONS:
        call(framework, name, z)
    for name in LOSSES:
        call(framework, name, z, y)
    assert capfd.readouterr() == ("", "")
