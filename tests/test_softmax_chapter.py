"""The chapter on softmax: its experiments, its figures, and what its checks say to a reader."""

import matplotlib as mpl

mpl.use("Agg")

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import NearestCentroid

from dlbook import data
from dlbook.softmax import checks, experiments, figures


@pytest.fixture
def blobs():
    return data.blobs(0, classes=4, per_class=30)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


# --- experiments -----------------------------------------------------------------------------------------------


def test_fit_finds_the_minimum_that_scikit_learn_finds(blobs):
    x, y = blobs
    W, b = experiments.fit(x, y, 0.01, gtol=1e-9)
    model = LogisticRegression(C=1 / (0.01 * len(x)), tol=1e-10, max_iter=10_000).fit(x, y)
    np.testing.assert_allclose(W, model.coef_.T, atol=1e-4)
    np.testing.assert_allclose(softmax(x @ W + b, axis=1), model.predict_proba(x), atol=1e-5)


def test_fit_takes_probabilities_as_targets_and_one_hot_rows_are_the_labels(blobs):
    x, y = blobs
    for by_label, by_row in zip(
        experiments.fit(x, y, 0.1), experiments.fit(x, np.eye(4)[y], 0.1), strict=True
    ):
        np.testing.assert_allclose(by_label, by_row, atol=1e-8)


def test_logistic_is_scikit_learns_logistic_regression(blobs):
    x, y = blobs
    w, b = experiments.logistic(x, y == 1, 0.01, gtol=1e-9)
    model = LogisticRegression(C=1 / (0.01 * len(x)), tol=1e-10, max_iter=10_000).fit(x, y == 1)
    np.testing.assert_allclose(w, model.coef_[0], atol=1e-4)
    np.testing.assert_allclose(b, model.intercept_[0], atol=1e-4)


def test_one_vs_rest_is_scikit_learns(blobs):
    x, y = blobs
    W, b = experiments.one_vs_rest(x, y, 0.01)
    model = OneVsRestClassifier(LogisticRegression(C=1 / (0.01 * len(x)), tol=1e-10, max_iter=10_000)).fit(
        x, y
    )
    np.testing.assert_allclose(experiments.shared_sigmoids(x @ W + b), model.predict_proba(x), atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_the_search_for_a_penalty_stops_at_the_one_that_trying_all_would_choose(seed):
    part = data.wine(seed)
    train, val = data.standardise(part.x_train, part.x_val)
    losses = []
    for l2 in experiments.HEAD_PENALTIES:
        W, b = experiments.fit(train, part.y_train, l2)
        losses.append(experiments.nll(softmax(val @ W + b, axis=1), part.y_val))
    chosen = experiments.compare_heads("wine", seeds=3).penalty[0, seed]
    assert chosen == experiments.HEAD_PENALTIES[int(np.argmin(losses))]


def test_nearest_mean_is_scikit_learns_nearest_centroid(blobs):
    x, y = blobs
    new = np.random.default_rng(1).normal(size=(50, 2))
    np.testing.assert_array_equal(
        experiments.nearest_mean(x, y, new), NearestCentroid().fit(x, y).predict(new)
    )


def test_straying_is_zero_on_a_line_and_the_height_of_an_arc():
    t = np.linspace(0, np.pi, 101)
    line = np.stack([t, 3 * t + 1], axis=1)
    half_circle = np.stack([np.cos(t), np.sin(t)], axis=1)
    assert experiments.straying(line) < 1e-12
    np.testing.assert_allclose(experiments.straying(half_circle), np.sin(t).mean(), rtol=1e-6)


def test_boundaries_of_a_circle_are_found_on_the_circle():
    def inside_or_outside(points):
        return np.stack([np.ones(len(points)), np.square(points).sum(axis=1)], axis=1)

    x, y = np.array([[0.0, 0.0], [2.0, 2.0]]), np.array([0, 1])
    result = experiments.regions(inside_or_outside, x, y, grid=41)
    assert result.accuracy == 1
    assert result.bend[0, 1] == pytest.approx(1, abs=0.05)  # the circle's radius
    assert result.dents > 0.01  # outside a circle is not convex
    assert result.winner[20, 20] == 0
    assert result.winner[0, 0] == 1


@pytest.mark.parametrize("classes", [3, 6])
def test_regions_of_softmax_regression_are_convex_and_their_boundaries_straight(classes):
    result, W, b = experiments.linear(*data.blobs(1, classes=classes))
    assert result.dents == 0
    assert max(result.bend.values()) < 1e-12
    assert (W.shape, b.shape) == ((2, classes), (classes,))


def test_a_hidden_layer_bends_boundaries_around_rings():
    for result in experiments.hidden(seeds=2):
        assert result.accuracy > 0.95
        assert min(result.bend.values()) > 1
        assert result.dents > 0.3


def test_two_classes_agree_when_the_penalty_is_doubled_and_not_when_it_is_the_same():
    result = experiments.two_classes(penalties=(0.1, 1.0), seeds=2)
    assert result.logistic.shape == result.same.shape == (2, 2, 30)
    np.testing.assert_allclose(result.doubled, result.logistic, atol=1e-6)
    assert np.abs(result.same - result.logistic).max() > 0.01
    assert result.mirror < 1e-9


def test_softmax_walks_the_path_of_logistic_regression_at_half_the_rate():
    np.testing.assert_allclose(*experiments.descents(steps=30, lr=0.5), atol=1e-13)


def test_heads_are_compared_on_the_same_splits():
    result = experiments.compare_heads("wine", seeds=2, penalties=(0.01, 0.1))
    assert result.accuracy.shape == (3, 2)
    assert result.loss.shape == result.penalty.shape == (2, 2)
    part = data.wine(1)
    train, test = data.standardise(part.x_train, part.x_test)
    expected = NearestCentroid().fit(train, part.y_train).score(test, part.y_test)
    assert result.accuracy[2, 1] == pytest.approx(expected)
    W, b = experiments.fit(train, part.y_train, result.penalty[0, 1])
    assert result.loss[0, 1] == pytest.approx(experiments.nll(softmax(test @ W + b, axis=1), part.y_test))


def test_the_middle_of_three_in_a_row_is_claimed_by_softmax_and_by_no_sigmoid():
    row = experiments.in_a_row(3)
    middle = np.argmin(np.abs(row.at))
    assert row.p_softmax[middle].argmax() == 1
    assert row.p_softmax[middle, 1] > 0.9
    assert np.ptp(row.p_one_vs_rest[:, 1]) < 0.2
    assert row.unclaimed > 0.9
    assert min(row.surest) > 0.95


def test_one_softmax_never_gives_two_labels_more_than_one_half():
    result = experiments.underlined(seeds=1, n=60)
    assert result.one_softmax.shape == result.two_heads.shape == (1, 60, 2)
    assert (result.one_softmax.sum(axis=-1) < 1 + 1e-12).all()
    assert (result.two_heads[..., 1] > 0.9).all()
    plain, lined = result.pictures
    np.testing.assert_array_equal(plain[:7], lined[:7])
    assert (lined[7] == 1).all()


def test_underlining_leaves_the_data_as_they_were():
    x = np.random.default_rng(0).random((20, 64))
    before = x.copy()
    _, line = experiments._underline(x, np.random.default_rng(0))
    np.testing.assert_array_equal(x, before)
    assert 0 < line.sum() < 20


def test_a_stronger_penalty_makes_the_reader_less_sure():
    result = experiments.confidence((1e-2, 1.0), seeds=1)
    assert result.accuracy.shape == (1, 2)
    assert result.confidence[0, 0] > result.confidence[0, 1] + 0.3
    assert result.loss[0, 0] < result.loss[0, 1] < math.log(10)


# --- figures ---------------------------------------------------------------------------------------------------


def labelled(ax):
    return bool(ax.get_xlabel() and ax.get_ylabel())


def test_temperatures_draws_one_line_a_class_on_a_log_axis():
    ax = figures.temperatures(
        plt.figure().subplots(), np.geomspace(0.1, 10, 9), np.ones((9, 2)) / 2, ["a", "b"]
    )
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
    assert ax.get_xscale() == "log"
    assert labelled(ax)


@pytest.mark.parametrize("lines", [True, False])
def test_regions_draws_the_line_of_each_pair_of_classes(blobs, lines):
    result, W, b = experiments.linear(*blobs)
    given = dict(W=W, b=b) if lines else {}
    ax = figures.regions(plt.figure().subplots(), result, title="four", **given)
    assert len(ax.lines) == (6 if lines else 0)
    assert len(ax.collections) == 4
    for line, (i, j) in zip(ax.lines, [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)], strict=False):
        point = np.array(line.get_xy1())
        step = np.array([1.0, line.get_slope()])
        for at in (point, point + step):
            z = at @ W + b
            assert z[i] == pytest.approx(z[j])


def test_two_classes_puts_the_doubled_penalty_on_the_diagonal():
    weights = np.array([[[0.5, -1.0]]])
    result = experiments.TwoClasses(weights, 1.3 * weights, weights, 0.0)
    ax = figures.two_classes(plt.figure().subplots(), result, 0)
    _, same, doubled = ax.lines
    np.testing.assert_allclose(doubled.get_xdata(), doubled.get_ydata())
    np.testing.assert_allclose(same.get_ydata(), [0.65, -1.3])
    assert labelled(ax)


def test_heads_draws_a_line_for_every_split():
    accuracy = np.array([[0.9, 1.0], [0.8, 0.9], [0.7, 0.6]])
    result = experiments.Comparison(accuracy, accuracy[:2], accuracy[:2])
    axes = plt.figure().subplots(1, 2)
    figures.heads(axes, {"wine": result, "digits": result})
    np.testing.assert_allclose(axes[0].lines[1].get_ydata(), [0, 10, 40], atol=1e-9)
    assert axes[1].get_title() == "digits, 2 splits"
    assert labelled(axes[0]) or axes[0].get_ylabel()


def test_in_a_row_draws_three_classes_and_their_data_in_both_panels():
    axes = plt.figure(layout="constrained").subplots(1, 2)
    figures.in_a_row(axes, experiments.in_a_row(0))
    assert [len(ax.lines) for ax in axes] == [6, 6]
    assert len(axes[0].figure.legends[0].get_texts()) == 3


def test_underlined_draws_the_picture_and_every_digit():
    p = np.random.default_rng(0).random((2, 5, 2))
    axes = plt.figure().subplots(1, 3)
    figures.underlined(axes, experiments.Underlined(np.zeros((2, 8, 8)), p, p))
    assert len(axes[0].images) == 1
    np.testing.assert_allclose(axes[1].lines[1].get_xydata(), p[1])


def test_confidence_draws_every_split():
    values = np.arange(6.0).reshape(2, 3) / 10
    result = experiments.Confidence(values, values / 2, values)
    ax = figures.confidence(plt.figure().subplots(), (0.1, 1, 10), result)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), values.mean(axis=0))
    np.testing.assert_allclose(ax.lines[1].get_ydata(), values.ravel())
    assert labelled(ax)


# --- checks ----------------------------------------------------------------------------------------------------


def said(check, function, capsys) -> str:
    check(function)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    return lines[0]


def unfilled(*_): ...


def refuses(*_):
    raise NotImplementedError


@pytest.mark.parametrize("check", [checks.soften, checks.one_pass, checks.tied_penalty])
@pytest.mark.parametrize("stub", [unfilled, refuses, lambda *_: ...])
def test_an_unfilled_stub_is_not_attempted_yet(check, stub, capsys):
    assert said(check, stub, capsys) == "not attempted yet"


def naive(z, T):
    e = np.exp(z / T)
    return e / e.sum(axis=-1, keepdims=True)


def shifted(z, T):
    e = np.exp(z / T - (z / T).max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


SOFTEN = [
    (shifted, "correct"),
    (lambda z, T: softmax(z / T, axis=-1), "correct"),
    (lambda z, T: shifted(z, 1), "you ignore the temperature"),
    (lambda z, T: shifted(z, 1 / T), "you multiply by the temperature"),
    (lambda z, T: shifted(z, 1) / T, "you divide the probabilities"),
    (lambda z, T: softmax(z / T, axis=0), "you sum over the batch"),
    (lambda z, T: softmax(z / T), "you divide by one sum for the whole batch"),
    (lambda z, T: np.exp(z / T), "you forgot to divide by the sum"),
    (
        lambda z, T: np.exp((z - z.max(-1, keepdims=True)) / T),
        "you forgot to divide by the sum, after the shift",
    ),
    (naive, "holds NaN where a number belongs: subtract each row's largest logit first"),
    (lambda z, T: shifted(z, T)[0], "must have shape (3, 4), got (4,)"),
    (lambda z, T: shifted(z, T) + 0.25, "off by up to 0.25"),
]


@pytest.mark.parametrize(("function", "sentence"), SOFTEN)
def test_each_mistake_with_the_temperature_is_named(function, sentence, capsys):
    assert sentence in said(checks.soften, function, capsys)


def one_pass(stream):
    largest, total = -np.inf, 0.0
    for z in stream:
        new = max(largest, z)
        total, largest = total * np.exp(largest - new) + np.exp(z - new), new
    return largest + np.log(total)


def no_rescaling(stream):
    largest, total = -np.inf, 0.0
    for z in stream:
        largest = max(largest, z)
        total += np.exp(z - largest)
    return largest + np.log(total)


def upside_down(stream):
    largest = next(stream)
    total = 1.0
    for z in stream:
        new = max(largest, z)
        total, largest = total * np.exp(new - largest) + np.exp(z - new), new
    return largest + np.log(total)


def twice(stream):
    largest = max(stream)
    return largest + np.log(sum(np.exp(z - largest) for z in stream))


def twice_with_math(stream):
    largest = max(stream)
    return largest + math.log(sum(math.exp(z - largest) for z in stream))


def starts_at_zero(stream):
    largest, total = 0.0, 0.0
    for z in stream:
        new = max(largest, z)
        total, largest = total * np.exp(largest - new) + np.exp(z - new), new
    return largest + np.log(total)


ONE_PASS = [
    (one_pass, "correct"),
    (no_rescaling, "the sum must be rescaled when a larger number arrives"),
    (upside_down, "your rescaling is upside down"),
    (twice, "a stream can be read only once"),
    (twice_with_math, "a stream can be read only once"),
    (starts_at_zero, "start it at minus infinity"),
    (lambda stream: np.log(sum(np.exp(z) for z in stream)), "keep the largest number seen"),
    (lambda stream: sum(np.exp(z) for z in stream), "you forgot the logarithm"),
    (lambda stream: max(stream), "that is the largest number alone"),
    (lambda stream: logsumexp(z := list(stream)) - max(z), "you forgot to add the largest number back"),
    (lambda stream: len(stream), "the numbers come as a stream"),
    (lambda stream: one_pass(stream) if next(stream) > 0 else np.nan, "your result is off by"),
]


@pytest.mark.parametrize(("function", "sentence"), ONE_PASS)
def test_each_mistake_with_the_stream_is_named(function, sentence, capsys):
    assert sentence in said(checks.one_pass, function, capsys)


def test_a_result_that_is_wrong_only_for_a_single_number_is_found(capsys):
    def needs_two(stream):
        z = list(stream)
        return logsumexp(z) if len(z) > 1 else 7.0

    assert said(checks.one_pass, needs_two, capsys).startswith("for a single number, your result is off")


def tied(V):
    return np.sum(V**2) - np.sum(V.sum(axis=1) ** 2) / (V.shape[1] + 1)


def with_shift(shift, *, own=True):
    def penalty(V):
        s = shift(V)
        return np.sum((V - s) ** 2) + own * np.sum(s**2)

    return penalty


def mean(V):
    return V.sum(axis=1, keepdims=True) / (V.shape[1] + 1)


TIED = [
    (tied, "correct"),
    (with_shift(mean), "correct"),
    (lambda V: np.sum(V**2), "that is plain L2 on V"),
    (with_shift(lambda V: V.mean(axis=1, keepdims=True), own=False), "you divide by C - 1"),
    (with_shift(lambda V: V.sum(axis=1, keepdims=True)), "your shift is the sum of the columns"),
    (with_shift(mean, own=False), "you forgot the tied class itself"),
    (lambda V: np.sum(V**2) + np.sum(V.sum(axis=1) ** 2) / 4, "the sign of the second term is wrong"),
    (lambda V: np.sum(V**2) - V.sum() ** 2 / 4, "feature by feature"),
    (lambda V: tied(V) / 2, "you halved it"),
    (lambda V: tied(V) + 1, "the penalty is off by up to 1"),
]


@pytest.mark.parametrize(("function", "sentence"), TIED)
def test_each_mistake_with_the_tied_class_is_named(function, sentence, capsys):
    assert sentence in said(checks.tied_penalty, function, capsys)


def test_the_tied_penalty_is_the_smallest_among_equivalent_weights():
    """The exercise's answer against a minimisation over the shift that does not know the formula."""
    from scipy.optimize import minimize

    V = np.random.default_rng(0).normal(size=(3, 4))
    best = minimize(lambda s: np.sum((V - s[:, None]) ** 2) + np.sum(s**2), np.zeros(3)).fun
    np.testing.assert_allclose(tied(V), best, rtol=1e-8)
