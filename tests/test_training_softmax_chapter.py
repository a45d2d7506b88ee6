"""The chapter on training a softmax classifier: its experiments, its figures and the checks of its exercises."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve

from dlbook import data
from dlbook.softmax import training_checks as checks
from dlbook.softmax import training_experiments as experiments
from dlbook.softmax import training_figures as figures
from dlbook.softmax.numpy import softmax


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


# --- experiments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", experiments.LOSSES)
def test_each_loss_has_the_gradient_of_finite_differences(name, rng):
    z, y = rng.normal(size=(3, 4)), np.array([2, 0, 3])
    loss = experiments.LOSSES[name]
    value, gradient = loss(z, y)
    assert value.shape == (3,)
    numerical = approx_fprime(z.ravel(), lambda flat: loss(flat.reshape(3, 4), y)[0].sum(), 1e-7)
    np.testing.assert_allclose(gradient, numerical.reshape(3, 4), atol=1e-6)


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_the_floor_of_softmax_twice_is_reached_by_a_certain_and_right_answer(classes):
    z = 1000 * np.eye(classes)[:1]
    value, _ = experiments.doubled(z, np.array([0]))
    assert value[0] == pytest.approx(experiments.floor(classes))
    worse, _ = experiments.doubled(z / 1000, np.array([0]))
    assert worse[0] > value[0]


def test_a_population_over_rates_learns_what_one_model_learns():
    alone = experiments.over_rates("cross-entropy", "sgd", [1.0], seeds=1, steps=30)
    among = experiments.over_rates("cross-entropy", "sgd", [1e-3, 1.0], seeds=2, steps=30)
    assert among.accuracy.shape == among.loss.shape == (2, 2)
    np.testing.assert_allclose(among.loss[1, 0], alone.loss[0, 0], rtol=1e-9)
    assert among.accuracy[1, 0] == alone.accuracy[0, 0] > 0.8


def test_a_rate_that_diverges_is_counted_as_wrong_everywhere():
    result = experiments.over_rates("cross-entropy", "sgd", [1.7e308], seeds=1, steps=5)
    assert np.isnan(result.loss[0, 0])
    assert result.accuracy[0, 0] == 0


def test_the_calibration_error_is_that_of_scikit_learns_curve(rng):
    confidence = rng.uniform(0.5, 1, 500)
    p = np.stack([confidence, 1 - confidence], axis=1)
    y = (rng.random(500) > confidence).astype(int)
    accuracy, mean = calibration_curve(y == 0, confidence, n_bins=10, strategy="quantile")
    assert experiments.calibration_error(p, y) == pytest.approx(np.mean(np.abs(accuracy - mean)), abs=2e-3)
    ours = experiments.reliability(p, y)
    np.testing.assert_allclose(ours[0], mean, atol=2e-3)
    np.testing.assert_allclose(ours[1], accuracy, atol=1e-9)


def test_many_sets_of_labels_have_the_errors_that_each_has_alone(rng):
    p = rng.dirichlet(np.ones(4), 53)
    y = rng.integers(0, 4, (7, 53))
    alone = [experiments.calibration_error(p, labels) for labels in y]
    np.testing.assert_array_equal(experiments.calibration_error(p, y), alone)


@pytest.mark.parametrize("name", experiments.LOSSES)
def test_the_gradient_that_training_follows_is_that_of_the_loss(name, rng):
    z, y = 5 * rng.normal(size=(6, 4)), rng.integers(0, 4, 6)
    np.testing.assert_array_equal(experiments.GRADIENTS[name](z, y), experiments.LOSSES[name](z, y)[1])


def test_calibration_error_by_hand_and_with_fewer_examples_than_groups():
    p = np.array([[0.9, 0.1], [0.6, 0.4]])
    assert experiments.calibration_error(p, np.array([0, 1])) == pytest.approx((0.1 + 0.6) / 2)
    assert experiments.calibration_error(p, np.array([0, 1]), bins=1) == pytest.approx(abs(0.5 - 0.75))


def test_an_honest_model_shows_less_error_the_more_examples_there_are(rng):
    p = softmax(rng.normal(size=(4000, 5)))
    few, many = (
        experiments.honest_error(p[:n], np.random.default_rng(0), draws=20).mean() for n in (100, 4000)
    )
    assert many < few / 3
    assert 0.05 < few < 0.2


def test_the_fitted_temperature_undoes_a_scaling_of_honest_logits(rng):
    z = 2 * rng.normal(size=(20_000, 4))
    y = (rng.random((len(z), 1)) > softmax(z).cumsum(axis=1)).sum(axis=1)
    assert experiments.fit_temperature(z, y) == pytest.approx(1, abs=0.05)
    assert experiments.fit_temperature(3 * z, y) == pytest.approx(3, rel=0.05)


def test_a_reader_is_looked_at_after_each_number_of_steps():
    reader = experiments.train_reader((5, 20), splits=2, n=60)
    assert reader.z_val.shape[:2] == reader.z_test.shape[:2] == (2, 2)
    alone = experiments.train_reader((5, 20), splits=1, n=60)
    np.testing.assert_allclose(reader.z_test[1, 0], alone.z_test[1, 0], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(reader.y_test[0], data.digits(0).y_test)
    assert reader.learned.shape == (2, 2)
    assert (reader.learned[1] > reader.learned[0]).all()


def test_calibrating_keeps_accuracy_and_lowers_the_loss():
    result = experiments.calibrate(experiments.train_reader((300,), splits=2, n=100), draws=3)
    assert result.accuracy.shape == result.null.shape == (1, 2)
    assert (result.scaled_loss < result.loss).all()
    assert (result.temperature > 1).all()
    assert (result.scaled_null > result.null).all()  # more modest probabilities are harder to check


def test_noise_is_added_to_every_part_and_the_data_stay_as_they_were():
    part = data.digits(0)
    before = part.x_train.copy()
    noisy = experiments.noisy(part, 0.5, 50, 0)
    np.testing.assert_array_equal(part.x_train, before)
    assert noisy.x_train.shape == (50, 64)
    for clean, rough in (
        (part.x_train[:50], noisy.x_train),
        (part.x_val, noisy.x_val),
        (part.x_test, noisy.x_test),
    ):
        assert np.std(rough - clean) == pytest.approx(0.5, rel=0.05)


def test_risk_and_coverage_count_the_most_confident_answers_first():
    p = np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8]])
    coverage, error = experiments.risk_and_coverage(p, np.array([1, 0, 1]))
    np.testing.assert_allclose(coverage, [1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(error, [0, 0, 1 / 3])


# --- figures ---------------------------------------------------------------------------------------------------


def labelled(ax):
    return bool(ax.get_xlabel() and ax.get_ylabel())


def calibrated(**values):
    empty = np.full((2, 3), 0.5)
    return experiments.Calibrated(
        **{name: values.get(name, empty) for name in experiments.Calibrated._fields}
    )


def test_margin_draws_losses_left_and_pushes_right():
    axes = plt.figure().subplots(1, 2)
    lead = np.array([-1.0, 0.0, 1.0])
    figures.margin(axes, lead, {"cross-entropy": (lead + 5, -lead)})
    np.testing.assert_allclose(axes[0].lines[0].get_ydata(), [4, 5, 6])
    np.testing.assert_allclose(axes[1].lines[0].get_ydata(), lead)
    assert all(map(labelled, axes))


def test_rates_draws_the_median_and_every_seed():
    accuracy = np.array([[0.1, 0.2, 0.9], [0.5, 0.6, 0.7]])
    results = {("sgd", name): experiments.Rates(accuracy, accuracy) for name in experiments.LOSSES}
    (ax,) = plt.figure().subplots(1, 1, squeeze=False)[0]
    figures.rates((ax,), {"sgd": [0.1, 1.0]}, results)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0.2, 0.6])
    np.testing.assert_allclose(ax.lines[1].get_ydata(), accuracy.ravel())
    assert labelled(ax)


def test_longer_draws_each_record():
    axes = plt.figure().subplots(1, 2)
    result = calibrated(accuracy=np.array([[0.7, 0.8, 0.9], [0.8, 0.8, 0.8]]))
    figures.longer(axes, (100, 400), result)
    np.testing.assert_allclose(axes[0].lines[0].get_ydata(), [0.8, 0.8])
    assert len(axes[0].lines[1].get_ydata()) == 6
    assert all(map(labelled, axes))


def test_reliability_has_a_diagonal_and_a_line_for_each_reader():
    ax = figures.reliability(plt.figure().subplots(), {"a": (np.array([0.5, 0.9]), np.array([0.4, 0.8]))})
    np.testing.assert_allclose(ax.lines[1].get_xydata(), [[0.5, 0.4], [0.9, 0.8]])
    assert labelled(ax)


def test_smoothing_draws_every_split_and_the_mean_over_the_strengths():
    axes = plt.figure().subplots(1, 2)
    row = [
        calibrated(accuracy=np.full((1, 2), 0.9), confidence=np.full((1, 2), 0.95)),
        calibrated(accuracy=np.array([[0.7, 0.9]]), confidence=np.full((1, 2), 0.7)),
    ]
    figures.smoothing(axes, (0.0, 0.1), {"clean": row})
    np.testing.assert_allclose(axes[0].lines[0].get_ydata(), [90, 70])
    np.testing.assert_allclose(axes[0].lines[2].get_ydata(), [90, 80])
    np.testing.assert_allclose(axes[1].lines[2].get_ydata(), [5, -10])
    assert all(map(labelled, axes))


def test_reject_draws_every_split_and_their_mean():
    coverage = np.array([0.5, 1.0])
    ax = figures.reject(
        plt.figure().subplots(), [(coverage, np.array([0, 0.1])), (coverage, np.array([0, 0.3]))]
    )
    np.testing.assert_allclose(ax.lines[2].get_xydata(), [[50, 0], [100, 20]])
    assert labelled(ax)


# --- checks ----------------------------------------------------------------------------------------------------


def said(check, function, capsys) -> str:
    check(function)
    (line,) = capsys.readouterr().out.splitlines()
    return line


@pytest.mark.parametrize("check", [checks.mean_gradient, checks.squared_gradient, checks.threshold])
@pytest.mark.parametrize("stub", [lambda *_: None, lambda *_: ...])
def test_an_unfilled_stub_is_not_attempted_yet(check, stub, capsys):
    assert said(check, stub, capsys) == "not attempted yet"


def gradient(z, y, axis=1):
    return softmax(z, axis=axis) - np.eye(z.shape[1])[y]


MEAN = [
    (lambda z, y: gradient(z, y) / len(y), "correct"),
    (gradient, "the 1/m is missing"),
    (lambda z, y: gradient(z, y) / z.size, "m times C"),
    (lambda z, y: -gradient(z, y) / len(y), "the sign is wrong"),
    (lambda z, y: softmax(z) / len(y), "the probability alone"),
    (lambda z, y: (softmax(z) - y[:, None]) / len(y), "the label's number"),
    (lambda z, y: gradient(z, y, axis=0) / len(y), "runs over the batch"),
    (lambda z, y: gradient(z, y)[0], "must have shape"),
]


@pytest.mark.parametrize(("function", "sentence"), MEAN)
def test_each_mistake_with_the_mean_gradient_is_named(function, sentence, capsys):
    assert sentence in said(checks.mean_gradient, function, capsys)


def squared(z, y):
    return experiments.squared(z, y)[1]


def diagonal(z, y):
    p = softmax(z)
    return 2 * gradient(z, y) * p * (1 - p)


def whole_batch(z, y):
    p, error = softmax(z), gradient(z, y)
    return 2 * p * (error - (p * error).sum())


SQUARED = [
    (squared, "correct"),
    (lambda z, y: 2 * gradient(z, y), "it still has to go through softmax"),
    (gradient, "that is the gradient of cross-entropy"),
    (lambda z, y: squared(z, y) / 2, "the 2 of the square is missing"),
    (diagonal, "only the diagonal"),
    (lambda z, y: 2 * softmax(z) * gradient(z, y), "the other half of the Jacobian"),
    (whole_batch, "each row has its own"),
]


@pytest.mark.parametrize(("function", "sentence"), SQUARED)
def test_each_mistake_with_the_squared_gradient_is_named(function, sentence, capsys):
    assert sentence in said(checks.squared_gradient, function, capsys)


def by(rate):
    return lambda confidence, right, target: checks.lowest(confidence, right, target, rate)


THRESHOLD = [
    (by(checks.bound), "correct"),
    (by(lambda k, n: k / n), "low by luck"),
    (by(lambda k, n: checks.bound(k, n, 0.975)), "two-sided"),
    (lambda c, r, target: checks.lowest(c, ~r, target, checks.bound), "share of right answers"),
    (lambda c, r, target: 0.5, "off by up to"),
]


@pytest.mark.parametrize(("function", "sentence"), THRESHOLD)
def test_each_mistake_with_the_threshold_is_named(function, sentence, capsys):
    assert sentence in said(checks.threshold, function, capsys)


@pytest.mark.parametrize(("wrong", "n"), [(0, 10), (3, 50), (10, 10)])
def test_the_bound_is_scipys_exact_interval(wrong, n):
    interval = binomtest(wrong, n, alternative="less").proportion_ci(0.95, method="exact")
    assert checks.bound(wrong, n) == pytest.approx(interval.high)
