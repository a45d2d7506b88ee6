"""The chapter before tuning: its experiments, its figures, and what its checks say to a reader."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from dlbook import data
from dlbook.before_tuning import checks, experiments, figures
from dlbook.mlp import numpy as mlp_numpy
from dlbook.optimizers import numpy as opt_numpy


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


# --- experiments -----------------------------------------------------------------------------------------------


def test_splits_are_those_of_the_data_module_stacked():
    part = experiments.splits([3, 0], train=100)
    assert part.x_train.shape == (2, 100, 64)
    assert part.y_test.shape == (2, 360)
    alone = data.digits(0)
    np.testing.assert_array_equal(part.x_train[1], alone.x_train[:100])
    np.testing.assert_array_equal(part.x_test[1], alone.x_test)
    np.testing.assert_array_equal(part.y_val[1], alone.y_val)


def test_a_seed_draws_other_numbers_for_another_use():
    weights, order = (experiments.generators([5, 6], use) for use in (experiments.WEIGHTS, experiments.ORDER))
    drawn = [rng.random() for rng in (*weights, *order)]
    assert len(set(drawn)) == 4
    assert drawn[0] == experiments.generators([5], experiments.WEIGHTS)[0].random()


def test_an_untrained_reader_starts_at_log_ten_plus_half_the_variance_of_its_scores():
    result = experiments.initial_loss((0, 0.1, 0.5), seeds=20)
    assert result.loss.shape == result.spread.shape == (3, 20)
    np.testing.assert_allclose(result.loss[0], np.log(10), rtol=1e-6)
    np.testing.assert_array_equal(result.spread[0], 0)
    predicted = np.log(10) + result.spread**2 / 2
    np.testing.assert_allclose(result.loss.mean(axis=1), predicted.mean(axis=1), atol=0.02)


def test_a_few_digits_are_learned_by_heart():
    loss = experiments.overfit(10, steps=150, seeds=2)
    assert loss.shape == (150, 2)
    assert loss[0].min() > 1.8
    assert loss[-1].max() < 0.1


def test_shuffled_labels_teach_nothing():
    control = experiments.shuffled_labels(seeds=4)
    assert control.right.shape == control.shuffled.shape == (len(control.steps), 4)
    assert control.steps[-1] == 340
    assert control.right[-1].min() > 0.9
    assert control.shuffled[-1].mean() < 0.2


@pytest.mark.filterwarnings("ignore:self.within_class_std_dev_")  # some pixels never change; no matter here
def test_the_ladder_has_its_rungs_in_order_and_the_simple_ones_are_scikit_learns():
    result = experiments.ladder(seeds=2)
    assert result.accuracy.shape == result.loss.shape == (len(experiments.RUNGS), 2)
    part = data.digits(1)
    near = KNeighborsClassifier(1).fit(part.x_train, part.y_train).score(part.x_test, part.y_test)
    centroid = NearestCentroid().fit(part.x_train + 0.0, part.y_train)
    rung = dict(zip(experiments.RUNGS, result.accuracy[:, 1], strict=True))
    assert rung["1 nearest neighbour"] == pytest.approx(near, abs=1e-6)
    assert rung["nearest mean"] == pytest.approx(centroid.score(part.x_test, part.y_test), abs=1e-6)
    assert rung["commonest digit"] < 0.15
    assert rung["network, tuned"] > 0.9
    assert np.isnan(result.loss[[0, 1, 6]]).all()
    assert (result.loss[2:6] < 0.4).all()
    assert set(result.penalty) <= set(experiments.PENALTIES)
    assert set(result.rate) <= set(experiments.RATES)
    assert set(result.epochs) <= set(experiments.EPOCHS)


def test_the_untuned_network_of_the_ladder_is_the_one_that_trains_alone():
    trials = experiments.network_trials(experiments.splits([0, 1]), [0, 1])
    part = data.digits(1)
    params = mlp_numpy.fit(
        mlp_numpy.init(experiments.READER, experiments.generators([1], experiments.WEIGHTS)[0]),
        part.x_train,
        part.y_train,
        optimizer=opt_numpy.sgd(0.1),
        steps=340,
        batch_size=64,
        rng=experiments.generators([1], experiments.ORDER)[0],
    ).params
    expected = mlp_numpy.evaluate(params, part.x_test, part.y_test)
    np.testing.assert_array_equal(trials.test[0, 0, :, 1], expected)


def test_the_best_trial_is_chosen_on_validation_and_reported_on_test():
    validation, test = np.full((3, 2, 2, 2), 9.0), np.arange(24.0).reshape(3, 2, 2, 2)
    validation[2, 1, 0, 0] = validation[0, 1, 0, 1] = 1.0
    validation[1, 0, 0] = np.nan  # diverged: never the best
    tuned, rate, epochs = experiments.Trials(validation, test).best()
    np.testing.assert_array_equal(
        tuned, [[test[2, 1, 0, 0], test[0, 1, 0, 1]], [test[2, 1, 1, 0], test[0, 1, 1, 1]]]
    )
    assert rate.tolist() == [experiments.RATES[2], experiments.RATES[0]]
    assert epochs.tolist() == [experiments.EPOCHS[1]] * 2


def test_nearest_finds_the_nearest_row():
    points = np.array([[0.0, 0.0], [1.0, 1.0], [5.0, 0.0]])
    assert experiments.nearest(points, np.array([[0.9, 0.8], [4.0, -1.0], [0.1, 0.0]])).tolist() == [1, 2, 0]


def test_runs_with_the_same_seeds_are_the_same_and_each_seed_matters():
    result = experiments.runs([0, 0, 0, 1], [0, 0, 1, 0], steps=20)
    assert all(values.shape == (4,) for values in result)
    for values in result:
        assert values[0] == values[1]
    assert len(set(result.loss[1:])) == 3


def test_many_runs_on_all_cores_are_the_runs_of_one_population(monkeypatch):
    monkeypatch.setattr(experiments, "PIECE", 3)
    splits, trials = [0, 1, 0, 1, 0, 1, 0], range(7)
    whole = experiments.runs(splits, trials, steps=20, rate=0.3)
    for values, expected in zip(experiments.many(splits, trials, steps=20, rate=0.3), whole, strict=True):
        np.testing.assert_array_equal(values, expected)


def test_a_study_returns_one_of_the_trained_readers_and_its_luck_is_the_draw():
    accuracy = experiments.studies(30, rates=6, draws=2)
    assert accuracy.shape == (30,)
    assert 1 < len(set(accuracy)) <= 6


def test_the_arms_share_their_seeds():
    arms = experiments.arms(3)
    assert list(arms) == ["32 units", "64 units", "rate 0.3"]
    np.testing.assert_array_equal(arms["32 units"].loss, experiments.runs(range(3), range(3)).loss)
    assert (arms["64 units"].loss != arms["32 units"].loss).all()


def test_pairing_and_seeds_make_a_study_miss_less():
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 3, 300)
    a, b = shared + rng.normal(1, 1, 300), shared + rng.normal(0, 1, 300)
    paired, unpaired = (
        experiments.missed(a, b, (1, 4, 16), paired=flag, studies=2000) for flag in (True, False)
    )
    assert (np.diff(paired) < 0).all()
    assert (np.diff(unpaired) < 0).all()
    assert (paired < unpaired - 0.05).all()
    np.testing.assert_array_equal(experiments.missed(b, a, (1, 4, 16), paired=True, studies=2000), paired)


def test_a_tie_is_a_miss():
    a, b = np.array([1.0, 0.0, 0.0, 0.0]), np.zeros(4)
    assert experiments.missed(a, b, [1], paired=True, studies=4000)[0] == pytest.approx(0.75, abs=0.03)


def test_training_on_is_recorded_for_every_split():
    result = experiments.late(2, steps=60, every=20)
    assert result.steps.tolist() == [20, 40, 60]
    assert result.loss.shape == result.accuracy.shape == (3, 2)


def test_the_scaler_of_all_rows_is_harmless_when_there_are_many():
    gain = experiments.scaler_leak((12, 106), seeds=40)
    assert gain.shape == (2, 40)
    assert abs(gain[1].mean()) < 0.01
    assert gain[0].std() > gain[1].std()


def test_selection_on_all_rows_finds_signal_in_noise():
    leaked, honest = experiments.selection_leak(8, features=1000)
    assert leaked.mean() > 0.7
    assert abs(honest.mean() - 0.5) < 0.1


# --- figures ---------------------------------------------------------------------------------------------------


def labelled(ax):
    return bool(ax.get_xlabel() and ax.get_ylabel())


def test_box_draws_the_image_and_ten_bars_for_each_output():
    axes = plt.figure().subplots(1, 3)
    p = np.arange(10) / 45
    figures.box(axes, np.arange(64.0), {"before": np.full(10, 0.1), "after": p})
    assert axes[0].images[0].get_array().shape == (8, 8)
    np.testing.assert_allclose([bar.get_height() for bar in axes[2].patches], p)
    assert axes[1].get_title() == "before"


def test_initial_loss_draws_every_network_beside_the_formula():
    result = experiments.InitialLoss(np.array([[2.3, 2.4], [2.9, 3.1]]), np.array([[0.0, 0.3], [1.0, 1.2]]))
    ax = figures.initial_loss(plt.figure().subplots(), result)
    formula, dots, _ = ax.lines
    np.testing.assert_allclose(formula.get_ydata(), np.log(10) + formula.get_xdata() ** 2 / 2)
    assert len(dots.get_xdata()) == 4
    assert ax.get_ylim()[1] > 3.1
    assert labelled(ax)


def test_sanity_draws_every_seed():
    axes = plt.figure().subplots(1, 2)
    control = experiments.Control(np.array([1, 2]), np.full((2, 3), 0.9), np.full((2, 3), 0.1))
    figures.sanity(axes, np.full((5, 4), 0.5), control)
    assert len(axes[0].lines) == 4 + 1
    assert len(axes[1].lines) == 6 + 1
    assert [text.get_text() for text in axes[1].get_legend().get_texts()] == [
        "right labels",
        "shuffled labels",
    ]
    assert all(map(labelled, axes))


def test_ladder_joins_the_rungs_of_each_split():
    accuracy = np.linspace(0.1, 0.98, 21).reshape(7, 3)
    unused = np.zeros(3)
    result = experiments.Ladder(accuracy, accuracy, unused, unused, unused)
    ax = figures.ladder(plt.figure().subplots(), result)
    assert len(ax.lines) == 3 + 1
    np.testing.assert_allclose(ax.lines[1].get_xdata(), 100 * (1 - accuracy[:, 1]))
    np.testing.assert_allclose(ax.lines[3].get_xdata(), 100 * (1 - accuracy.mean(axis=1)))
    assert [text.get_text() for text in ax.get_yticklabels()] == list(experiments.RUNGS)


def test_luck_counts_all_runs_and_draws_a_strip_for_each_kind():
    axes = plt.figure().subplots(2, 1)
    rng = np.random.default_rng(0)
    kinds = {name: np.round(360 * rng.uniform(0.8, 0.99, 50)) / 360 for name in ("trial", "study", "data")}
    figures.luck(axes, kinds)
    assert sum(bar.get_height() for bar in axes[0].patches) == 50
    at, curve = axes[0].lines[0].get_data()
    assert np.trapezoid(curve, at) == pytest.approx(50 * 4 / 360, rel=0.05)
    assert len(axes[1].lines) == 6
    np.testing.assert_array_equal(axes[1].lines[2].get_xdata(), kinds["study"])
    assert [text.get_text() for text in axes[1].get_yticklabels()] == ["trial", "study", "data"]


def test_missed_draws_a_line_for_each_way_to_compare():
    shares = {name: np.array([0.4, 0.2]) for name in "abcd"}
    ax = figures.missed(plt.figure().subplots(), (1, 5), shares)
    assert [line.get_label() for line in ax.lines] == list("abcd")
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "5"]
    assert labelled(ax)


def test_late_draws_changes_since_the_start():
    axes = plt.figure().subplots(1, 2)
    loss = np.array([[0.5, 0.6], [0.2, 0.3], [0.25, 0.37]])
    figures.late(axes, experiments.Late(np.array([100, 200, 300]), loss, 1 - loss), start=200)
    np.testing.assert_allclose(axes[0].lines[1].get_ydata(), [0, 0.07])
    np.testing.assert_allclose(axes[1].lines[2].get_ydata(), [0, 6])
    assert axes[0].lines[0].get_xdata().tolist() == [200, 300]
    assert all(map(labelled, axes))


def test_leaks_draws_two_standard_errors_and_every_pair():
    axes = plt.figure().subplots(1, 2)
    scaler = np.array([[0.0, 0.02, 0.04, 0.02], [0.0, 0.0, 0.01, -0.01]])
    selection = np.array([[0.8, 0.9], [0.5, 0.45]])
    figures.leaks(axes, (6, 106), scaler, selection)
    low, high = axes[0].collections[0].get_segments()[0][:, 1]
    assert (low + high) / 2 == pytest.approx(2)
    assert (high - low) / 4 == pytest.approx(100 * scaler[0].std(ddof=1) / 2)
    np.testing.assert_allclose(axes[1].lines[1].get_ydata(), [90, 45])


# --- checks ----------------------------------------------------------------------------------------------------


def said(check, function, capsys) -> str:
    check(function)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    return lines[0]


def unfilled(*_): ...


def refuses(*_):
    raise NotImplementedError


@pytest.mark.parametrize("check", [checks.difference, checks.seeds_needed, checks.select])
@pytest.mark.parametrize("stub", [unfilled, refuses, lambda *_: ...])
def test_an_unfilled_stub_is_not_attempted_yet(check, stub, capsys):
    assert said(check, stub, capsys) == "not attempted yet"


def error(d, ddof=1):
    return d.std(ddof=ddof) / np.sqrt(len(d))


DIFFERENCE = [
    (lambda a, b: ((b - a).mean(), error(b - a)), "correct"),
    (lambda a, b: (np.mean(b) - np.mean(a), error(b - a)), "correct"),
    (lambda a, b: ((a - b).mean(), error(b - a)), "the sign is turned"),
    (lambda a, b: (100 * (b - a).mean(), 100 * error(b - a)), "that is in points"),
    (lambda a, b: ((b - a).sum(), error(b - a)), "you counted digits"),
    (lambda a, b: ((b != a).mean(), error(b - a)), "you counted where the two differ"),
    (
        lambda a, b: (b.mean() - a.mean(), np.sqrt(sum(v.mean() * (1 - v.mean()) / len(v) for v in (a, b)))),
        "you added the variances as if each reader had digits of its own",
    ),
    (
        lambda a, b: (b.mean() - a.mean(), np.sqrt(error(a) ** 2 + error(b) ** 2)),
        "you added the sample variances as if each reader had digits of its own",
    ),
    (
        lambda a, b: ((b - a).mean(), (b - a).std(ddof=1)),
        "that is the spread of one difference; the mean of n",
    ),
    (lambda a, b: ((b - a).mean(), (b - a).std()), "that is the spread of one difference, with ddof=0"),
    (lambda a, b: ((b - a).mean(), (b - a).std(ddof=1) / len(a)), "divide by sqrt(n), not by n"),
    (lambda a, b: ((b - a).mean(), error(b - a) ** 2), "take the root"),
    (lambda a, b: ((b - a).mean(), error(b - a, 0)), "divides by n - 1"),
    (lambda a, b: ((b - a).mean(), 2 * error(b - a)), "the standard error is off"),
    (lambda a, b: (0.5, error(b - a)), "the difference is off"),
    (lambda a, b: (b - a).mean(), "return the pair"),
]


@pytest.mark.parametrize(("function", "sentence"), DIFFERENCE)
def test_each_mistake_with_the_difference_is_named(function, sentence, capsys):
    assert sentence in said(checks.difference, function, capsys)


def sd(d):
    return d.std(ddof=1)


SEEDS = [
    (lambda d, e: np.ceil((2.8 * sd(d) / e) ** 2), "correct"),
    (lambda d, e: int(np.ceil((2.8 * sd(d) / e) ** 2)), "correct"),
    (lambda d, e: np.ceil((2 * sd(d) / e) ** 2), "every other time"),
    (lambda d, e: (2.8 * sd(d) / e) ** 2, "you did not round up"),
    (lambda d, e: (2.8 * sd(d) / e) ** 2 // 1, "one seed too few"),
    (lambda d, e: np.ceil(2.8 * sd(d) / e), "n takes the square"),
    (lambda d, e: np.ceil((2.8 * d.var(ddof=1) / e) ** 2), "you squared the variance"),
    (lambda d, e: np.ceil((2.8 * sd(d) / d.mean()) ** 2), "take the effect that you want to see"),
    (lambda d, e: np.ceil((2.8 * d.std() / e) ** 2), "divides by n - 1"),
    (lambda d, e: 12, "the number of seeds is off"),
]


@pytest.mark.parametrize(("function", "sentence"), SEEDS)
def test_each_mistake_with_the_number_of_seeds_is_named(function, sentence, capsys):
    assert sentence in said(checks.seeds_needed, function, capsys)


def test_the_formula_gives_four_studies_in_five():
    """Simulated studies with the answer of exercise 2: about 80 % of them see the effect."""
    rng, effect, s = np.random.default_rng(0), 1.0, 3.0
    n = int(np.ceil((checks.POWER * s / effect) ** 2))
    d = rng.normal(effect, s, (4000, n))
    seen = d.mean(axis=1) > 1.96 * s / np.sqrt(n)
    assert seen.mean() == pytest.approx(0.8, abs=0.02)


def gap(x, y):
    return x[y == 1].mean(axis=0) - x[y == 0].mean(axis=0)


def peeks_at_the_scale(x, y, train, k):
    """Right features on the check's first data, but divided by the spread of all rows."""
    spread = np.where(x.std() > 2, x.std(axis=0), 1)
    return np.argsort(np.abs(gap(x[train], y[train])) / spread)[-k:]


SELECT = [
    (lambda x, y, train, k: np.argsort(np.abs(gap(x[train], y[train])))[-k:], "correct"),
    (lambda x, y, train, k: list(np.argsort(-np.abs(gap(x[train], y[train])))[:k]), "correct"),
    (lambda x, y, train, k: np.argsort(np.abs(gap(x, y)))[-k:], "you looked at the test rows too"),
    (
        lambda x, y, train, k: np.argsort(np.abs(gap(np.delete(x, train, 0), np.delete(y, train))))[-k:],
        "you took the test rows instead",
    ),
    (lambda x, y, train, k: np.argsort(np.abs(gap(x[train], y[train])))[:k], "that differ least"),
    (lambda x, y, train, k: np.argsort(gap(x[train], y[train]))[-k:], "you forgot the absolute value"),
    (lambda x, y, train, k: np.argsort(np.abs(gap(x[train], y[: len(train)])))[-k:], "y must be cut"),
    (lambda x, y, train, k: np.arange(k), "these are not the features"),
    (lambda x, y, train, k: np.arange(k - 1), "the list of features must have shape (5,), got (4,)"),
    (peeks_at_the_scale, "your choice changes when only the test rows change"),
]


@pytest.mark.parametrize(("function", "sentence"), SELECT)
def test_each_mistake_with_the_selection_is_named(function, sentence, capsys):
    assert sentence in said(checks.select, function, capsys)
