"""What batch norm must do for every batch: shapes, dtypes, hard numbers."""

import numpy as np
import pytest
from batch_norm_cases import assert_close, back, call, convert, gradients, problem, running_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dlbook import frameworks
from dlbook.batch_norm import Running

few = settings(max_examples=15)  # an operation of TensorFlow costs more than one of NumPy
leadings = st.lists(st.integers(1, 3), max_size=2).map(tuple)
seeds = st.integers(0, 2**32 - 1)
HALVES = {"float16": 2e-3, "bfloat16": 2e-2}


@few
@given(leadings, st.integers(2, 9), st.integers(0, 5), st.booleans(), seeds)
@example((), 2, 1, False, 0)
def test_any_shape_is_numpys_mean_and_variance(framework, leading, batch, features, shared, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(2, 3, (*leading, batch, features))
    gamma, beta = rng.normal(size=(2, features) if shared else (2, *leading, 1, features))
    y, running, cache = call(framework, "batch_norm_train", x, gamma, beta)
    mean, var = x.mean(-2, keepdims=True), x.var(-2, keepdims=True)
    assert_close(running, (mean, var), rtol=1e-12)
    np.testing.assert_allclose(y, gamma * (x - mean) / np.sqrt(var + 1e-5) + beta, rtol=1e-9, atol=1e-11)
    assert cache.x_hat.shape == y.shape == x.shape
    dx, dgamma, dbeta = gradients(framework, x, x, gamma, beta)
    assert (dx.shape, dgamma.shape, dbeta.shape) == (x.shape, gamma.shape, beta.shape)
    np.testing.assert_allclose(
        call(framework, "batch_norm_test", x, gamma, beta, running), y, rtol=1e-9, atol=1e-11
    )


@given(st.integers(1, 4), st.integers(1, 20), st.integers(1, 5), seeds)
def test_a_numpy_population_is_each_model_alone_bit_for_bit(models, batch, features, seed):
    x, gamma, beta, dy = problem(np.random.default_rng(seed), models, batch=batch, features=features)
    together = call("numpy", "batch_norm_train", x, gamma, beta)[:2]
    slopes = gradients("numpy", dy, x, gamma, beta)
    for k in range(models):
        y, running, _ = call("numpy", "batch_norm_train", x[k], gamma[k], beta[k])
        alone = (y, *running, *gradients("numpy", dy[k], x[k], gamma[k], beta[k]))
        for a, b in zip((together[0], *together[1], *slopes), alone, strict=True):
            np.testing.assert_array_equal(a[k], b)


def cast(a, framework, dtype):
    if framework == "numpy":
        if dtype == "bfloat16":
            dtype = pytest.importorskip("ml_dtypes").bfloat16
        return a.astype(dtype)
    a = convert(a, framework)
    if framework == "torch":
        return a.to(getattr(pytest.importorskip("torch"), dtype))
    return pytest.importorskip("tensorflow").cast(a, dtype)


def name_of(a):
    return getattr(a.dtype, "name", str(a.dtype)).rpartition(".")[2]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("parameters", ["float32", "float64"])
def test_the_dtype_of_x_comes_back_and_the_sums_are_made_in_float32_at_least(
    framework, dtype, parameters, rng
):
    module = frameworks.load("batch_norm", framework)
    x, gamma, beta, _ = problem(rng, batch=32)
    running = running_of(gamma, rng)
    half = cast(x, framework, dtype)
    gamma, beta, running = (convert(change(a, parameters), framework) for a in (gamma, beta, running))
    y, new, cache = module.batch_norm_train(half, gamma, beta, running)
    tested = module.batch_norm_test(half, gamma, beta, running)
    dx, dgamma, dbeta = module.batch_norm_backward(y, cache)
    assert {name_of(a) for a in (y, tested, dx)} == {dtype}
    wide = "float64" if dtype == "float64" else "float32"
    assert {name_of(a) for a in (cache.x_hat, cache.std, dgamma, dbeta)} == {wide}
    assert {name_of(a) for a in new} == {parameters}  # the statistics keep their own dtype
    rounded = back(half).astype("float64")
    wanted, _, _ = call("numpy", "batch_norm_train", rounded, back(gamma), back(beta))
    np.testing.assert_allclose(back(y), wanted, rtol=HALVES.get(dtype, 1e-5), atol=HALVES.get(dtype, 1e-5))


def change(value, dtype):
    return Running(*(a.astype(dtype) for a in value)) if isinstance(value, Running) else value.astype(dtype)


def test_a_variance_beyond_float16_is_right(framework):
    """Its variance is 1.25e7; float16 ends at 65504."""
    x = np.array([[-5000.0], [-2000.0], [2000.0], [5000.0]], np.float16)
    y, running, _ = call(framework, "batch_norm_train", x, np.ones(1), np.zeros(1))
    assert y.dtype == np.float16
    assert running.var.item() == 14_500_000
    np.testing.assert_allclose(y[:, 0], x[:, 0] / 14_500_000**0.5, rtol=1e-3)


def test_a_mean_far_from_0_keeps_its_variance_in_float32(framework, rng):
    """Two passes get it right; mean(x**2) - mean(x)**2 in float32 does not, on the very same numbers."""
    x = rng.normal(1e4, 1, (256, 8)).astype("float32")
    true = x.astype("float64").var(0)
    y, running, _ = call(framework, "batch_norm_train", x, *np.ones((2, 8), np.float32))
    np.testing.assert_allclose(running.var[0], true, rtol=0.01)
    np.testing.assert_allclose(y.std(0), 1, rtol=0.01)
    one_pass = (x**2).mean(0) - x.mean(0) ** 2
    assert np.abs(one_pass / true - 1).min() > 0.01


@few
@given(st.integers(-140, 140), seeds)
def test_huge_and_tiny_float64_are_normalised_alike(framework, power, seed):
    x, gamma, beta, _ = problem(np.random.default_rng(seed))
    y, _, _ = call(framework, "batch_norm_train", x * 10.0**power, gamma, beta, eps=0.0)
    wanted, _, _ = call(framework, "batch_norm_train", x, gamma, beta, eps=0.0)
    np.testing.assert_allclose(y, wanted, rtol=1e-9, atol=1e-10)


@few
@given(st.integers(-15, 15), seeds)
def test_huge_and_tiny_float32_are_normalised_alike(framework, power, seed):
    x, gamma, beta, _ = problem(np.random.default_rng(seed), dtype="float32")
    y, _, _ = call(framework, "batch_norm_train", x * np.float32(10.0**power), gamma, beta, eps=0.0)
    wanted, _, _ = call(framework, "batch_norm_train", x, gamma, beta, eps=0.0)
    np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-5)


def test_a_variance_that_overflows_is_infinite_and_the_output_is_beta(framework):
    """As with torch and Keras: the running variance tells, the output does not."""
    x = np.array([[-1e30], [1e30]], np.float32)
    with np.errstate(over="ignore"):
        y, running, _ = call(framework, "batch_norm_train", x, *np.full((2, 1), 2, np.float32))
    assert np.isinf(running.var).all()
    np.testing.assert_array_equal(y, 2)


@few
@given(st.floats(-1e6, 1e6), st.integers(1, 9))
def test_a_constant_feature_becomes_beta(framework, value, rows):
    """Up to the rounding of the mean, which 1 / sqrt(eps) enlarges 316 times."""
    x, gamma, beta = np.full((rows, 2), value), np.array([2.0, -1.0]), np.array([0.5, 3.0])
    y, running, _ = call(framework, "batch_norm_train", x, gamma, beta)
    np.testing.assert_allclose(y, np.tile(beta, (rows, 1)), atol=4 * 316 * np.spacing(abs(value) + 1))
    np.testing.assert_allclose(running.var, 0, atol=(9 * np.spacing(abs(value) + 1)) ** 2)


def test_a_constant_feature_without_eps_is_nan(framework):
    with np.errstate(invalid="ignore"):
        y, _, _ = call(framework, "batch_norm_train", np.ones((2, 1)), np.ones(1), np.ones(1), eps=0.0)
    assert np.isnan(y).all()


def test_one_row_becomes_beta(framework, rng):
    x, gamma, beta, _ = problem(rng, batch=1)
    y, running, _ = call(framework, "batch_norm_train", x, gamma, beta)
    np.testing.assert_array_equal(y, beta[None])
    np.testing.assert_array_equal(running.mean, x)
    np.testing.assert_array_equal(running.var, 0)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0, 4)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_empty_batch_is_empty_at_test_time(framework, shape, dtype):
    ones = np.ones(4, dtype)
    y = call(framework, "batch_norm_test", np.empty(shape, dtype), ones, ones, Running(ones, ones))
    assert (y.shape, y.dtype) == (shape, dtype)


@few
@given(st.sampled_from([np.nan, np.inf, -np.inf]), st.integers(0, 7), st.integers(0, 3), seeds)
def test_nan_and_infinity_spoil_their_own_feature_only(framework, value, row, feature, seed):
    x, gamma, beta, dy = problem(np.random.default_rng(seed))
    spoilt = x.copy()
    spoilt[row, feature] = value
    others = np.delete(np.arange(4), feature)

    def everything(x):
        y, running, _ = call(framework, "batch_norm_train", x, gamma, beta)
        return (y, running.var, *gradients(framework, dy, x, gamma, beta)[:2])

    with np.errstate(invalid="ignore"):
        for a, b in zip(everything(spoilt), everything(x), strict=True):
            assert np.isnan(a[..., feature]).all()
            np.testing.assert_array_equal(a[..., others], b[..., others])


def test_nan_stays_in_the_running_statistics_of_its_feature(framework, rng):
    x, gamma, beta, _ = problem(rng)
    spoilt = x.copy()
    spoilt[0, 1] = np.nan
    running = Running(np.zeros(4), np.ones(4))
    for batch in (spoilt, x):
        _, running, _ = call(framework, "batch_norm_train", batch, gamma, beta, running)
    np.testing.assert_array_equal(np.isnan(running), [[False, True, False, False]] * 2)


def test_strided_and_read_only_arrays_are_as_good_as_any(framework, rng):
    module = frameworks.load("batch_norm", framework)
    x, gamma, beta, _ = problem(rng, batch=6)
    wide, tall = np.repeat(x, 2, axis=1), np.ascontiguousarray(x.T)
    if framework == "numpy":
        for a in (wide, tall, gamma, beta):
            a.flags.writeable = False
    views = [convert(wide, framework)[:, ::2], transpose(convert(tall, framework))]
    parameters = [gamma, beta] if framework == "numpy" else [convert(a, framework) for a in (gamma, beta)]
    if framework == "numpy":
        views = [wide[:, ::2], tall.T]
    wanted = call("numpy", "batch_norm_train", x, gamma, beta)[0]
    for view in views:
        y, running, cache = module.batch_norm_train(view, *parameters)
        np.testing.assert_allclose(back(y), wanted, rtol=1e-12, atol=1e-13)
        module.batch_norm_backward(view, cache)
        tested = module.batch_norm_test(view, *parameters, running)
        np.testing.assert_allclose(back(tested), wanted, rtol=1e-12, atol=1e-13)


def transpose(a):
    return a.T if hasattr(a, "T") else pytest.importorskip("tensorflow").transpose(a)


def test_inputs_are_never_modified(framework, rng):
    module = frameworks.load("batch_norm", framework)
    x, gamma, beta, dy = problem(rng)
    before = [x, gamma, beta, running_of(gamma, rng), dy, rng.normal(size=(5, 4)), rng.normal(size=4)]
    arrays = [convert(a, framework) for a in before]
    x, gamma, beta, running, dy, W, b = arrays
    _, new, cache = module.batch_norm_train(x, gamma, beta, running)
    cached = back(cache)
    module.batch_norm_backward(dy, cache)
    module.batch_norm_backward(dy, cache)
    module.batch_norm_test(x, gamma, beta, running)
    module.fold(W, b, gamma, beta, running)
    module.precise_statistics([x, x])
    kept = back(new)
    module.batch_norm_train(x, gamma, beta, new)
    for a, b in zip((*map(back, arrays), back(cache), back(new)), (*before, cached, kept), strict=True):
        np.testing.assert_array_equal(np.concatenate([np.ravel(v) for v in flat(a)]), np.hstack(flat(b)))


def flat(value):
    return [np.ravel(a) for a in value] if isinstance(value, tuple) else [np.ravel(value)]


@given(st.floats(0.01, 100), st.floats(-100, 100), seeds)
def test_shifting_and_stretching_a_feature_changes_nothing(scale, shift, seed):
    x, gamma, beta, _ = problem(np.random.default_rng(seed))
    y = call("numpy", "batch_norm_train", x, gamma, beta, eps=0.0)[0]
    moved = call("numpy", "batch_norm_train", scale * x + shift, gamma, beta, eps=0.0)[0]
    np.testing.assert_allclose(moved, y, rtol=1e-7, atol=1e-8)
    flipped = call("numpy", "batch_norm_train", -scale * x + shift, -gamma, beta, eps=0.0)[0]
    np.testing.assert_allclose(flipped, y, rtol=1e-7, atol=1e-8)


@few
@given(st.permutations(range(8)), seeds)
def test_permuting_the_rows_permutes_the_output(framework, order, seed):
    x, gamma, beta, _ = problem(np.random.default_rng(seed))
    y, running, _ = call(framework, "batch_norm_train", x, gamma, beta)
    permuted, same, _ = call(framework, "batch_norm_train", x[order], gamma, beta)
    np.testing.assert_allclose(permuted, y[order], rtol=1e-10, atol=1e-12)
    assert_close(same, running, rtol=1e-12)


def test_nothing_is_printed(framework, rng, capfd):
    x, gamma, beta, dy = problem(rng)
    call(framework, "batch_norm_train", x, gamma, beta)
    gradients(framework, dy, x, gamma, beta)
    assert capfd.readouterr() == ("", "")
