"""The chapter on scales: its experiments, its figures and the checks of its exercises."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.signal import lfilter

from dlbook import data
from dlbook.mlp import numpy as mlp_numpy
from dlbook.optimizers import numpy as opt_numpy
from dlbook.tuning import Linear, Log
from dlbook.tuning import scales_checks as checks
from dlbook.tuning import scales_experiments as experiments
from dlbook.tuning import scales_figures as figures


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


# --- experiments -----------------------------------------------------------------------------------------------


def test_a_population_over_rates_trains_as_each_reader_alone():
    rates = np.array([0.01, 0.3])
    loss = experiments.train(lambda repeat: opt_numpy.sgd(repeat(rates)), rates.shape, 2, steps=20)
    assert loss.shape == (2, 2)
    part = data.digits(1)
    alone = mlp_numpy.fit(
        mlp_numpy.init(experiments.SIZES, np.random.default_rng([1, 0])),
        part.x_train,
        part.y_train,
        optimizer=opt_numpy.sgd(0.3),
        steps=20,
        batch_size=experiments.BATCH,
        rng=np.random.default_rng([1, 1]),
    )
    expected, _ = mlp_numpy.evaluate(alone.params, part.x_val, part.y_val)
    assert loss[1, 1] == expected


def test_a_reader_that_diverges_counts_as_guessing():
    loss = experiments.train(lambda repeat: opt_numpy.sgd(repeat(np.array([1e6]))), (1,), 1, steps=5)
    assert loss[0, 0] == pytest.approx(np.log(10))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_over_rates_finds_a_small_rate_worse_than_a_fitting_one(optimizer, monkeypatch):
    monkeypatch.setattr(experiments, "STEPS", 200)
    loss = experiments.over_rates(optimizer, np.array([1e-4, 0.03]), seeds=1)
    assert loss[1, 0] < loss[0, 0]


def test_best_of_is_the_minimum_over_the_draws_of_each_scale():
    rates = np.geomspace(1e-4, 1, 9)
    curve = np.log10(rates)[:, None] ** 2  # smallest at 1
    race = experiments.best_of(rates, curve, (Log(1e-4, 1), Linear(1e-4, 1)), 4, replays=500)
    u = np.random.default_rng(0).random((500, 4))
    best = np.array([[Log(1e-4, 1).value(one) for one in row] for row in u]).max(axis=1)
    np.testing.assert_allclose(race.log, np.interp(np.log(best), np.log(rates), curve[:, 0]), rtol=1e-9)
    assert race.linear.mean() < race.log.mean()


def test_averages_are_scipys_recursive_filter(rng):
    signal = rng.normal(size=50)
    ours = experiments.averages((0.5, 0.9), signal)
    for beta, curve in zip((0.5, 0.9), ours, strict=True):
        theirs, _ = lfilter([1 - beta], [1, -beta], signal, zi=[beta * signal[0]])
        np.testing.assert_allclose(curve, theirs, rtol=1e-12)


def test_the_window_of_an_average_in_four_sizes(rng):
    w = experiments.window(0.99)
    weights = 0.01 * 0.99 ** np.arange(20_000)
    assert w.time_constant == pytest.approx(100)
    assert 0.99**w.half_life == pytest.approx(0.5)
    assert w.share == pytest.approx(weights[:100].sum())
    assert w.sample_size == pytest.approx(1 / np.sum(weights**2))


def test_the_signal_jumps_every_1500_steps():
    signal = experiments.steps_and_noise(0, noise=0.0)
    np.testing.assert_array_equal(signal[[0, 1499, 1500, 2999, 3000]], [0, 0, 1, 1, 0])


def test_the_accumulated_form_is_the_averaged_one_at_a_larger_rate():
    ridge = experiments.ridge(per_decade=1, seeds=1)
    assert ridge.averaged.shape == ridge.accumulated.shape == (3, 5, 1)
    beta, rate = ridge.betas[:, None] + 0 * ridge.rates, ridge.rates / (1 - ridge.betas[:, None])
    direct = experiments.train(lambda repeat: opt_numpy.momentum(repeat(rate), repeat(beta)), (3, 5), 1)
    np.testing.assert_allclose(ridge.accumulated, direct, rtol=1e-3)
    np.testing.assert_allclose(ridge.averaged[0], direct[0])  # beta is 0
    np.testing.assert_allclose(ridge.rates, np.geomspace(1e-3, 10, 5))


def test_the_best_rate_is_refined_between_the_grid_points():
    rates = np.geomspace(1e-3, 1, 7)
    loss = (np.log10(rates) + 1.7)[None, :, None] ** 2
    np.testing.assert_allclose(experiments.best_rates(rates, loss), [[10**-1.7]], rtol=1e-6)
    flat = np.zeros((1, 7, 1))
    assert experiments.best_rates(rates, flat)[0, 0] == pytest.approx(rates[1])


def test_the_slope_is_in_powers_of_ten():
    betas = 1 - np.array([1.0, 0.1, 0.01])
    np.testing.assert_allclose(experiments.slope(betas, np.array([[5.0], [0.5], [0.05]])), [1.0])


# --- figures ---------------------------------------------------------------------------------------------------


def test_draws_has_a_row_for_each_scale():
    ax = figures.draws(plt.figure().subplots(), {"linear": np.ones(3), "log": np.ones(2)}, xlabel="rate")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["linear", "log"]
    assert ax.get_xscale() == "log"


def test_races_draws_means_and_bands():
    race = experiments.Race(np.array([0.1, 0.3]), np.array([0.5, 0.7]))
    ax = figures.races(plt.figure().subplots(), (5, 10), [race, race], title="t")
    np.testing.assert_allclose([line.get_ydata()[0] for line in ax.lines], [0.6, 0.2])
    assert len(ax.collections) == 2


def test_averages_draws_the_signal_and_each_curve():
    ax = figures.averages(plt.figure().subplots(), np.zeros(16), {"a": np.ones(16), "b": np.ones(16)})
    assert len(ax.lines) == 3


def test_ridge_marks_the_best_rate_of_each_seed():
    loss = np.ones((2, 3, 2))
    ax = plt.figure().subplots()
    figures.ridge(ax, np.array([0.1, 1, 10]), np.array([0, 0.9]), loss, np.ones((2, 2)), title="t")
    assert len(ax.lines) == 2
    assert ax.get_yscale() == "log"


def test_shares_draws_a_bar_for_each_value():
    ax = figures.shares(
        plt.figure().subplots(), [1, 2], {"a": np.array([0.5, 0.5]), "b": np.array([0.2, 0.8])}
    )
    assert [bar.get_height() for bar in ax.patches] == [50, 50, 20, 80]


# --- checks ----------------------------------------------------------------------------------------------------


def said(check, function, capsys) -> str:
    check(function)
    (line,) = capsys.readouterr().out.splitlines()
    return line


@pytest.mark.parametrize("check", [checks.sample_beta, checks.same_step, checks.fair_integer])
@pytest.mark.parametrize("stub", [lambda *_: None, lambda *_: ...])
def test_an_unfilled_stub_is_not_attempted_yet(check, stub, capsys):
    assert said(check, stub, capsys) == "not attempted yet"


BETAS = [
    (lambda u: 1 - 10 ** (-1 - 2 * u), "correct"),
    (lambda u: 0.9 + 0.099 * u, "that is linear"),
    (lambda u: 0.9 * (0.999 / 0.9) ** u, "the log of beta"),
    (lambda u: 10 ** (-1 - 2 * u), "you return 1 - beta"),
    (lambda u: 1 - 10 ** (-3 + 2 * u), "runs backwards"),
    (lambda u: 1 - 10 ** (-1 - u), "from -1 to -2"),
    (lambda u: 1 - np.exp(-1 - 2 * u), "natural exponents"),
    (lambda u: u[0], "must have shape"),
]


@pytest.mark.parametrize(("function", "sentence"), BETAS)
def test_each_mistake_with_betas_is_named(function, sentence, capsys):
    assert sentence in said(checks.sample_beta, function, capsys)


STEPS = [
    (lambda lr, beta, new: lr * (1 - new) / (1 - beta), "correct"),
    (lambda lr, beta, new: lr * (1 - beta) / (1 - new), "upside down"),
    (lambda lr, beta, new: lr, "nothing has to change"),
    (lambda lr, beta, new: lr * new / beta.clip(1e-9), "ratio of the betas"),
    (lambda lr, beta, new: lr * (1 - new), "forgot the old beta"),
]


@pytest.mark.parametrize(("function", "sentence"), STEPS)
def test_each_mistake_with_the_step_is_named(function, sentence, capsys):
    assert sentence in said(checks.same_step, function, capsys)


INTEGERS = [
    (lambda u, low, high: low + np.floor(u * (high - low + 1)), "correct"),
    (lambda u, low, high: np.round(low + u * (high - low)), "half its share"),
    (lambda u, low, high: low + np.floor(u * (high - low)), "upper end never comes up"),
    (lambda u, low, high: low + np.ceil(u * (high - low)), "lower end never comes up"),
    (lambda u, low, high: low + u * (high - low), "must hold whole numbers"),
    (lambda u, low, high: np.floor(u * (high - low + 1)), "1 and 3 are the ends"),
    (lambda u, low, high: 2, "must have shape"),
    (lambda u, low, high: np.where(u < 0.1, 1, np.where(u < 0.5, 2, 3)), "off by up to"),
]


@pytest.mark.parametrize(("function", "sentence"), INTEGERS)
def test_each_mistake_with_whole_numbers_is_named(function, sentence, capsys):
    assert sentence in said(checks.fair_integer, function, capsys)
