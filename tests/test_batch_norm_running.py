"""Running and precise statistics: what batch norm remembers of the batches that it has seen."""

import numpy as np
import pytest
from batch_norm_cases import assert_close, call, convert, precise, problem, running_of
from hypothesis import given
from hypothesis import strategies as st

from dlbook import frameworks

seeds = st.integers(0, 2**32 - 1)


@given(st.floats(0, 1), st.integers(1, 12), seeds)
def test_the_running_mean_stays_between_the_batch_means(decay, steps, seed):
    rng, running, means = np.random.default_rng(seed), None, []
    for _ in range(steps):
        x = rng.normal(rng.normal(), 1, (5, 3))
        running = call("numpy", "batch_norm_train", x, np.ones(3), np.ones(3), running, decay=decay)[1]
        means.append(x.mean(0, keepdims=True))
    slack = 1e-12
    assert (running.mean >= np.min(means, 0) - slack).all()
    assert (running.mean <= np.max(means, 0) + slack).all()


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 1.0])
def test_the_running_statistics_have_a_closed_form(framework, decay, rng):
    """n steps on one batch: decay**n of the start is left, the rest is the batch."""
    x, gamma, beta, _ = problem(rng)
    start = running = running_of(gamma, rng)
    for _ in range(10):
        running = call(framework, "batch_norm_train", x, gamma, beta, running, decay=decay)[1]
    left = decay**10
    assert_close(
        running,
        (left * start.mean + (1 - left) * x.mean(0), left * start.var + (1 - left) * x.var(0)),
        rtol=1e-12,
    )


def test_other_rows_move_a_row_in_training_and_not_at_test_time(framework, rng):
    x, gamma, beta, _ = problem(rng)
    running, moved = running_of(gamma, rng), x.copy()
    moved[1:] += 5
    tested = [call(framework, "batch_norm_test", a, gamma, beta, running)[0] for a in (x, moved)]
    np.testing.assert_array_equal(*tested)
    trained = [call(framework, "batch_norm_train", a, gamma, beta)[0][0] for a in (x, moved)]
    assert np.abs(trained[0] - trained[1]).max() > 0.1


def test_precise_statistics_are_those_of_the_concatenation(framework, rng):
    batches = [rng.normal(i, i + 1, (n, 4)) for i, n in enumerate((5, 1, 0, 32, 7))]
    mean, var = precise(framework, batches)
    whole = np.concatenate(batches)
    np.testing.assert_allclose(mean, whole.mean(0, keepdims=True), rtol=1e-13)
    np.testing.assert_allclose(var, whole.var(0, keepdims=True), rtol=1e-13)


def test_precise_statistics_of_images_and_of_half_precision(framework, rng):
    x = rng.normal(size=(6, 3, 4, 5))
    mean, var = precise(framework, [x[:2], x[2:]], axis=(0, 2, 3))
    np.testing.assert_allclose(mean, x.mean((0, 2, 3), keepdims=True), atol=1e-14)
    np.testing.assert_allclose(var, x.var((0, 2, 3), keepdims=True), rtol=1e-13)
    large = np.array([[-600.0], [600.0]], np.float16)
    mean, var = precise(framework, [large, large])
    assert (mean.dtype, var.dtype) == (np.float32, np.float32)
    assert (mean.item(), var.item()) == (0, 360_000)


def test_precise_statistics_take_any_iterable_and_need_an_example(framework, rng):
    module, x = frameworks.load("batch_norm", framework), convert(rng.normal(size=(4, 3)), framework)
    assert module.precise_statistics(iter([x, x])).mean.shape == (1, 3)
    for none in ([], [x[:0]]):
        with pytest.raises(ValueError, match="batches must hold at least one example, got none"):
            module.precise_statistics(none)
