"""The chapter on normalising activations: its experiments, its figures, and what its checks say to a reader."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from dlbook import data
from dlbook.batch_norm import checks, experiments, figures
from dlbook.batch_norm.numpy import batch_norm_backward, batch_norm_train
from dlbook.mlp import numpy as mlp_numpy
from dlbook.optimizers import numpy as opt_numpy


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


# --- inputs first ----------------------------------------------------------------------------------------------


def test_scalings_centre_and_standardise():
    x = np.random.default_rng(0).normal([5, -2], [10, 0.1], size=(50, 2))
    scaled = experiments.scalings(x)
    np.testing.assert_array_equal(scaled["raw"], x)
    np.testing.assert_allclose(scaled["centred"].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled["centred"].std(axis=0), x.std(axis=0))
    np.testing.assert_allclose(scaled["standardised"].std(axis=0), 1)


def test_descend_knows_the_curvature_and_never_climbs():
    x, y = data.blobs(0, classes=2)
    result = experiments.descend(x, y, 50)
    hessian = x.T @ x / (4 * len(x))  # every probability is one half at zero
    assert result.condition == pytest.approx(np.linalg.cond(hessian))
    assert result.loss[0] == pytest.approx(np.log(2))
    assert (np.diff(result.loss) < 0).all()
    assert result.path.shape == (51, 2)
    gradient = x.T @ (0.5 - y) / len(x)
    np.testing.assert_allclose(result.path[1], -gradient / np.linalg.eigvalsh(hessian)[-1])


def test_standardised_inputs_are_rounder_and_learn_faster():
    for results in experiments.inputs_first(steps=200).values():
        condition = [results[name].condition for name in ("raw", "centred", "standardised")]
        assert condition == sorted(condition, reverse=True)
        assert results["standardised"].loss[-1] < results["centred"].loss[-1] < results["raw"].loss[-1]


def test_bowl_finds_where_the_gradient_vanishes():
    x, y = experiments.tasks()["wine"]
    x = experiments.scalings(x[:, :2])["standardised"]
    path, lowest = experiments.bowl(x, y, steps=300)
    np.testing.assert_allclose(x.T @ (1 / (1 + np.exp(-x @ lowest)) - y) / len(x), 0, atol=1e-4)
    np.testing.assert_allclose(path[-1], lowest, atol=0.01)


# --- populations of readers ------------------------------------------------------------------------------------

SMALL = dict(hidden=(8,), steps=4)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_train_gives_each_network_what_it_would_get_alone(batch_norm):
    rates, seeds = np.array([[0.05], [0.3]]), np.arange(3)
    scores = experiments.train(rates, seeds, batch_norm=batch_norm, scale=0.5, brightness=2.0, **SMALL)
    assert scores.accuracy.shape == scores.loss.shape == (2, 3)
    part = data.digits(2, dtype="float64")
    x, x_val = (2 * a.astype("float32") for a in data.standardise(part.x_train, part.x_val))
    params = mlp_numpy.init((64, 8, 10), np.random.default_rng(2), batch_norm=batch_norm, scale=0.5)
    alone = mlp_numpy.fit(
        params,
        x,
        part.y_train,
        optimizer=opt_numpy.sgd(0.3),
        steps=4,
        batch_size=64,
        rng=np.random.default_rng(2),
        validation=(x_val, part.y_val),
    )
    np.testing.assert_allclose(scores.loss[1, 2], alone.history.val_loss[-1], rtol=1e-5)
    assert scores.accuracy[1, 2] == pytest.approx(alone.history.val_accuracy[-1])


def test_both_arms_start_from_the_same_weights():
    plain, normed = (
        mlp_numpy.init((64, 8, 10), [np.random.default_rng(3)], batch_norm=arm) for arm in (False, True)
    )
    np.testing.assert_array_equal(plain["W1"], normed["W1"])
    scores = experiments.both(0.1, np.arange(2), **SMALL)
    assert scores.loss.shape == (2, 2)
    alone = experiments.train(0.1, np.arange(2), batch_norm=True, **SMALL)
    np.testing.assert_array_equal(scores.loss[1], alone.loss)


def test_train_takes_the_dtype_that_it_is_given():
    single, double = (
        experiments.train(0.1, 0, batch_norm=True, dtype=d, **SMALL) for d in ("float32", "float64")
    )
    assert (single.loss.dtype, double.loss.dtype) == ("float32", "float64")
    np.testing.assert_allclose(single.loss, double.loss, rtol=1e-4)


def test_a_diverging_run_stays_in_its_own_place():
    scores = experiments.train(np.array([0.1, 1e12]), 0, batch_norm=False, **SMALL)
    assert np.isfinite(scores.loss[0])
    assert not np.isfinite(scores.loss[1])
    assert scores.accuracy[1] == 0


def test_batch_norm_does_not_see_the_brightness():
    scores = experiments.train(0.1, 0, batch_norm=True, brightness=np.array([0.5, 1.0, 20.0]), **SMALL)
    np.testing.assert_allclose(scores.loss, scores.loss[1], rtol=1e-2)


def test_decades_counts_powers_of_ten_above_the_threshold():
    values = np.array([0.01, 0.1, 1.0, 10.0])
    good, half, never = [1.0, 1.0, 1.0, 1.0], [0.8, 1.0, 1.0, 0.8], [0.1, 0.2, 0.1, 0.1]
    accuracy = np.transpose([good, half, never])
    np.testing.assert_allclose(experiments.decades(values, accuracy), [3, 2, 0], atol=0.01)
    both = experiments.decades(values, np.stack([accuracy, accuracy]))
    assert both.shape == (2, 3)


def test_tuned_takes_the_smallest_median_and_nan_for_the_worst():
    rates = np.array([0.1, 1.0, 10.0])
    loss = np.array([[0.5, 0.6, 0.7], [0.1, np.nan, np.nan], [np.nan, np.nan, np.nan]])
    assert experiments.tuned(rates, loss) == 0.1
    np.testing.assert_array_equal(experiments.tuned(rates, np.stack([loss, loss[::-1]])), [0.1, 10.0])


def test_one_change_has_a_row_for_every_change():
    result = experiments.one_change((0.3, 1.0), seeds=1)
    assert result.shape == (len(experiments.CHANGES), 2, 1)
    alone = experiments.train(1.0, np.arange(1), batch_norm=True, scale=3.0)
    np.testing.assert_array_equal(result[experiments.CHANGES.index("first weights × 3"), 1], alone.accuracy)
    alone = experiments.train(0.3, np.arange(1), batch_norm=False, hidden=(32,))
    np.testing.assert_array_equal(result[experiments.CHANGES.index("1 hidden layer"), 0], alone.accuracy)


def test_search_draws_the_same_trials_in_both_arms_and_within_its_ranges():
    result, longer = experiments.search(studies=2, trials=2), experiments.search(studies=1, trials=2)
    assert result.accuracy.shape == (2, 2, 2)
    np.testing.assert_array_equal(result.rate[0], longer.rate[0])
    for values, low, high in ((result.rate, 0.01, 10), (result.scale, 0.1, 10), (result.beta, 0, 0.99)):
        assert values.shape == (2, 2)
        assert ((values >= low) & (values < high)).all()
    alone = experiments.train(
        result.rate[1, 0],
        1,
        batch_norm=True,
        scale=result.scale[1, 0],
        optimizer=lambda rate: opt_numpy.momentum(rate, result.beta[1, 0]),
    )
    np.testing.assert_allclose(result.loss[1, 1, 0], alone.loss, rtol=1e-3)


def test_trials_needed_is_the_first_that_reaches_the_threshold():
    accuracy = np.array([[0.2, 0.95, 0.1, 0.97], [0.2, 0.3, 0.4, 0.5], [0.9, 0.1, 0.1, 0.1]])
    np.testing.assert_array_equal(experiments.trials_needed(accuracy), [2, np.inf, 1])


def test_deep_has_an_axis_for_depth():
    scores = experiments.deep((1, 2), np.array([0.1, 0.3]), seeds=1)
    assert scores.accuracy.shape == (2, 2, 2, 1)
    alone = experiments.train(0.3, np.arange(1), batch_norm=True, hidden=(32, 32))
    np.testing.assert_allclose(scores.loss[1, 1, 1], alone.loss, rtol=1e-4)


def test_with_batch_norm_gradients_grow_with_depth():
    sizes = experiments.gradient_sizes(20, seeds=2, rows=64)
    assert sizes.shape == (2, 2, 21)
    assert (sizes[1, :, 0] > 10 * sizes[1, :, -2]).all()
    assert (sizes[0, :, 0] < 10 * sizes[0, :, -2]).all()


# --- gradients, right and wrong --------------------------------------------------------------------------------


def test_central_difference_is_the_slope():
    x = np.array([[1.0, -2.0], [0.5, 3.0]])
    np.testing.assert_allclose(experiments.central_difference(lambda a: np.sum(a**3), x), 3 * x**2, rtol=1e-8)


def test_detached_backward_is_what_autograd_gives_for_detached_statistics():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, dy, gamma = rng.normal(size=(8, 3)), rng.normal(size=(8, 3)), rng.normal(size=3)
    _, _, cache = batch_norm_train(x, gamma, np.zeros(3))
    z, g = torch.tensor(x, requires_grad=True), torch.tensor(gamma, requires_grad=True)
    mean, var = z.mean(0).detach(), z.var(0, correction=0).detach()
    (torch.tensor(dy) * g * (z - mean) / (var + 1e-5).sqrt()).sum().backward()
    dx, dgamma, dbeta = experiments.detached_backward(dy, cache)
    np.testing.assert_allclose(dx, z.grad.numpy())
    np.testing.assert_allclose(dgamma, g.grad.numpy())
    np.testing.assert_allclose(dbeta, dy.sum(axis=0))
    assert np.abs(dx - batch_norm_backward(dy, cache)[0]).max() > 0.1


def test_train_detached_differs_and_leaves_the_right_backward_pass_in_place():
    right = experiments.train(0.3, 0, batch_norm=True)
    wrong = experiments.train_detached(0.3, 0)
    assert wrong.loss > right.loss
    assert mlp_numpy.batch_norm_backward is batch_norm_backward
    np.testing.assert_array_equal(experiments.train(0.3, 0, batch_norm=True).loss, right.loss)


def test_a_bias_walks_off_when_statistics_are_detached():
    losses, walk = experiments.bias_walk(20, 0.1)
    np.testing.assert_allclose(walk, 0, atol=1e-12)
    np.testing.assert_allclose(losses, losses[0])
    losses, walk = experiments.bias_walk(20, 0.1, experiments.detached_backward)
    np.testing.assert_allclose(losses, losses[0])
    np.testing.assert_allclose(np.diff(walk), walk[1], rtol=1e-9)
    assert walk[-1] > 1


def test_gamma_zero_learns_nothing_but_the_last_bias():
    assert experiments.dead_gamma(0.3).loss == pytest.approx(np.log(10), abs=0.03)
    assert experiments.dead_gamma(0.3, gamma=1.0).accuracy > 0.8


def test_the_unit_that_looks_for_zeros_has_two_humps():
    z, zero = experiments.zero_unit()
    assert z.shape == (1078, 1)
    assert z[zero].mean() - z[~zero].mean() > 2 * z[~zero].std()


# --- figures ---------------------------------------------------------------------------------------------------


def labelled(ax) -> bool:
    return bool(ax.get_xlabel()) and bool(ax.get_ylabel())


def test_bowl_shows_the_path_its_start_and_the_lowest_point():
    x, y = experiments.tasks()["wine"]
    x = experiments.scalings(x[:, :2])["standardised"]
    path, lowest = experiments.bowl(x, y)
    ax = figures.bowl(plt.figure().subplots(), x, y, path, lowest, title="wine")
    walked, start, star = ax.lines
    np.testing.assert_array_equal(walked.get_xydata(), path)
    np.testing.assert_array_equal(start.get_xydata(), path[:1])
    for point in (path[0], lowest):
        assert ax.get_xlim()[0] < point[0] < ax.get_xlim()[1]
        assert ax.get_ylim()[0] < point[1] < ax.get_ylim()[1]
    np.testing.assert_array_equal(star.get_xydata()[0], lowest)
    assert labelled(ax)


def test_descent_draws_a_line_for_each_scaling():
    results = experiments.inputs_first(steps=30)["wine"]
    ax = figures.descent(plt.figure().subplots(), results, title="wine")
    assert [line.get_label() for line in ax.lines] == ["raw", "centred", "standardised"]
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), results["raw"].loss[1:])
    assert labelled(ax)


def test_histograms_draw_the_normal_curve_of_the_same_moments():
    z = np.random.default_rng(0).normal(3, 2, size=(500, 1))
    axes = plt.figure(layout="constrained").subplots(1, 2)
    figures.histograms(axes, z, (z - z.mean()) / z.std())
    at, curve = axes[0].lines[0].get_data()
    assert at[curve.argmax()] == pytest.approx(z.mean())
    assert curve.max() == pytest.approx(1 / (z.std() * np.sqrt(2 * np.pi)))
    assert [ax.get_title() for ax in axes] == ["before", "after batch norm"]


def test_averaged_entries_marks_those_that_share_the_first_ones_mean():
    group = np.indices((3, 2))[1]
    ax = figures.averaged_entries(plt.figure().subplots(), group, title="batch")
    np.testing.assert_array_equal(ax.images[0].get_array(), [[True, False]] * 3)


def test_sweep_draws_every_run_and_the_medians():
    accuracy = np.random.default_rng(0).random((2, 4, 3))
    ax = figures.sweep(plt.figure().subplots(), np.array([0.1, 1, 10, 100]), accuracy, xlabel="rate")
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.median(accuracy[0], axis=1))
    np.testing.assert_allclose(ax.lines[3].get_ydata(), accuracy[1].ravel())
    assert [line.get_label() for line in ax.lines[1:4:2]] == ["plain", "batch norm"]


def test_changes_puts_the_first_change_on_top():
    accuracy = np.arange(12.0).reshape(2, 2, 3) / 12
    ax = figures.changes(plt.figure().subplots(), ["nothing", "more"], accuracy)
    dots = ax.lines[1]
    np.testing.assert_allclose(dots.get_xdata(), accuracy[:, 1].ravel())
    assert dots.get_ydata()[0] > dots.get_ydata()[-1]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["nothing", "more"]


def test_best_so_far_never_falls():
    accuracy = np.random.default_rng(0).random((2, 3, 6))
    ax = figures.best_so_far(plt.figure().subplots(), accuracy)
    assert len(ax.lines) == 8
    assert all((np.diff(line.get_ydata()) >= 0).all() for line in ax.lines)
    assert labelled(ax)


def test_gradients_draws_every_seed_and_the_median():
    sizes = np.random.default_rng(0).random((2, 3, 5))
    ax = figures.gradients(plt.figure().subplots(), sizes)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), sizes[0, 0])
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), np.median(sizes[1], axis=0))


# --- checks ----------------------------------------------------------------------------------------------------


def said(check, function, capsys) -> str:
    check(function)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    return lines[0]


def unfilled(*_): ...


def refuses(*_):
    raise NotImplementedError


@pytest.mark.parametrize("check", [checks.undo, checks.layer_norm, checks.variance_only_backward])
@pytest.mark.parametrize("stub", [unfilled, refuses, lambda *_: ...])
def test_an_unfilled_stub_is_not_attempted_yet(check, stub, capsys):
    assert said(check, stub, capsys) == "not attempted yet"


def std(x, eps, axis=0, ddof=0):
    return np.sqrt(x.var(axis=axis, ddof=ddof, keepdims=True) + eps)


def mean(x, axis=0):
    return x.mean(axis=axis, keepdims=True)


UNDO = [
    (lambda x, eps: (std(x, eps)[0], mean(x)[0]), "correct"),
    (lambda x, eps: (std(x, eps), mean(x)), "correct"),
    (lambda x, eps: [std(x, eps)[0], mean(x)[0]], "correct"),
    (lambda x, eps: (std(x, 0), mean(x)), "your gamma forgets eps"),
    (lambda x, eps: (std(x, 0) + eps, mean(x)), "your gamma adds eps outside the root"),
    (lambda x, eps: (std(x, eps) ** 2, mean(x)), "your gamma is the variance"),
    (lambda x, eps: (1 / std(x, eps), mean(x)), "your gamma divides once more"),
    (lambda x, eps: (std(x, eps, ddof=1), mean(x)), "your gamma uses the unbiased variance"),
    (lambda x, eps: (mean(x), std(x, eps)), "your gamma and beta are swapped"),
    (lambda x, eps: (std(x, eps), -mean(x)), "your beta has the wrong sign"),
    (lambda x, eps: (std(x, eps), 0 * mean(x)), "your beta is 0"),
    (lambda x, eps: (std(x, eps), mean(x) / std(x, eps)), "your beta is divided"),
    (lambda x, eps: (std(x, eps, axis=1), mean(x)), "gamma must have shape (3,), got (6, 1)"),
    (lambda x, eps: (std(x, eps), mean(x) + 1), "beta is off by up to 1"),
    (lambda x, eps: std(x, eps), "return two arrays: gamma, beta"),
    (lambda x, eps: ("a", "b"), "gamma must be numbers"),
]


@pytest.mark.parametrize(("function", "sentence"), UNDO)
def test_each_mistake_in_undoing_is_named(function, sentence, capsys):
    assert sentence in said(checks.undo, function, capsys)


def layer_norm(x, gamma, beta, eps):
    return gamma * (x - mean(x, -1)) / std(x, eps, -1) + beta


LAYER_NORM = [
    (layer_norm, "correct"),
    (lambda x, g, b, eps: g * (x - mean(x)) / std(x, eps) + b, "that is batch norm"),
    (lambda x, g, b, eps: g * (x - mean(x, -1)) / std(x, eps, -1, 1) + b, "your variance divides by n - 1"),
    (lambda x, g, b, eps: layer_norm(x, g, b, 0), "you forgot eps"),
    (lambda x, g, b, eps: g * (x - mean(x, -1)) / (std(x, 0, -1) + eps) + b, "your eps is outside the root"),
    (lambda x, g, b, eps: g * (x - mean(x, -1)) / std(x, eps, -1) ** 2 + b, "you divide by the variance"),
    (lambda x, g, b, eps: layer_norm(x, 1, 0, eps), "you forgot gamma and beta"),
    (lambda x, g, b, eps: layer_norm(x, g, 0, eps), "you forgot beta"),
    (lambda x, g, b, eps: g * (x - x.mean()) / np.sqrt(x.var() + eps) + b, "everything at once"),
    (lambda x, g, b, eps: layer_norm(x, g, b, eps)[0], "must have shape (6, 3), got (3,)"),
    (lambda x, g, b, eps: layer_norm(x, g, b, eps) + 0.5, "off by up to 0.5"),
]


@pytest.mark.parametrize(("function", "sentence"), LAYER_NORM)
def test_each_mistake_in_layer_norm_is_named(function, sentence, capsys):
    assert sentence in said(checks.layer_norm, function, capsys)


def backward(dy, x, eps, *, centre=True, factor=1.0, power=3):
    centred = x - mean(x) if centre else x
    return dy / std(x, eps) - factor * centred * mean(dy * x) / std(x, eps) ** power


def full_backward(dy, x, eps):
    _, _, cache = batch_norm_train(x, np.ones(3), np.zeros(3), eps=eps)
    return batch_norm_backward(dy, cache)[0]


BACKWARD = [
    (backward, "correct"),
    (lambda dy, x, eps: dy / std(x, eps), "you treat the standard deviation as a constant"),
    (lambda dy, x, eps: backward(dy, x, eps, centre=False), "measured around the mean"),
    (lambda dy, x, eps: backward(dy, x, eps, factor=6), "the 1/m of the variance is missing"),
    (lambda dy, x, eps: backward(dy, x, eps, factor=-1), "the second term has the wrong sign"),
    (lambda dy, x, eps: backward(dy, x, eps, factor=2), "the second term is twice too large"),
    (lambda dy, x, eps: backward(dy, x, eps, power=2), "the power of the standard deviation"),
    (full_backward, "that is the gradient of full batch norm"),
    (lambda dy, x, eps: backward(dy, x, eps).sum(axis=0), "must have shape (6, 3), got (3,)"),
    (lambda dy, x, eps: np.full_like(x, np.nan), "holds NaN where a number belongs"),
]


@pytest.mark.parametrize(("function", "sentence"), BACKWARD)
def test_each_mistake_in_the_gradient_is_named(function, sentence, capsys):
    assert sentence in said(checks.variance_only_backward, function, capsys)


def test_the_right_gradient_of_exercise_3_is_the_measured_one():
    x, dy = np.random.default_rng(2).normal(size=(2, 6, 3))
    measured = experiments.central_difference(lambda a: np.sum(dy * a / std(a, 1e-2)), x)
    np.testing.assert_allclose(backward(dy, x, 1e-2), measured, atol=1e-8)
