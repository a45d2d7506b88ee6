"""The capstone: the envelope, its experiments on a small scale, the card and its rubric, figures and checks."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from dlbook import data
from dlbook.batch_norm import serve
from dlbook.capstone import card as cards
from dlbook.capstone import checks, experiments, figures
from dlbook.capstone.card import Card, Count, review
from dlbook.capstone.experiments import Paired
from dlbook.framework_choice import export
from dlbook.mlp import numpy as mlp_numpy
from dlbook.softmax import training_checks
from dlbook.tuning import MLP, Done, Log, Space, Study, SuccessiveHalving

CONFIG = {"lr": 1.0, "momentum": 0.9, "lr_decay": 0.1, "weight_decay": 0.001}


@pytest.fixture(scope="module")
def part():
    return experiments.seal(data.digits(0))[0]


@pytest.fixture(scope="module")
def again(part):
    """Two configurations on three seeds, two epochs each."""
    return experiments.rerun(part, [CONFIG, CONFIG | {"lr": 0.3}], range(3), epochs=2)


@pytest.fixture(scope="module")
def one(part):
    """One configuration on three seeds, and what its readers say."""
    result = experiments.rerun(part, [CONFIG], range(3), epochs=2)
    return result, experiments.halves(part, result, range(3))


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


# --- the envelope ----------------------------------------------------------------------------------------------


def test_the_test_part_can_be_opened_once():
    whole = data.digits(0)
    part, sealed = experiments.seal(whole)
    assert len(part.x_test) == len(part.y_test) == 0
    np.testing.assert_array_equal(part.x_val, whole.x_val)
    assert (len(sealed), sealed.looks) == (360, [])
    x, y = sealed.open("the first")
    np.testing.assert_array_equal(x, whole.x_test)
    np.testing.assert_array_equal(y, whole.y_test)
    with pytest.raises(RuntimeError, match=r"for 'the first': 'the second' would be chosen"):
        sealed.open("the second")
    assert sealed.looks == ["the first"]


def test_new_cuts_hold_every_digit_outside_the_envelope_and_no_other(part):
    cut = experiments.recut(part, [3, 4])
    assert cut.x_train.shape == (2, 1078, 64)
    assert cut.x_val.shape == (2, 359, 64)
    ours = np.concatenate([part.x_train, part.x_val])
    for k in range(2):
        theirs = np.concatenate([cut.x_train[k], cut.x_val[k]])
        np.testing.assert_array_equal(np.sort(theirs, axis=0), np.sort(ours, axis=0))
    assert (cut.x_val[0] != cut.x_val[1]).any()
    assert cut.x_train.dtype == part.x_train.dtype


# --- search and reruns -----------------------------------------------------------------------------------------


def test_a_search_races_its_trials(part, monkeypatch):
    monkeypatch.setattr(experiments, "RACE", SuccessiveHalving(r_max=4, eta=4))
    study = experiments.search(part, Space(lr=Log(0.1, 10)), 8)
    assert sorted(one.resource for one in study.trials.values()) == [1] * 6 + [4] * 2
    assert study.best.resource == 4


def test_a_rerun_is_what_each_configuration_does_alone_on_its_cut(part, again):
    assert again.loss.shape == again.accuracy.shape == (2, 3)
    cut = data.Split(*(a[0] for a in experiments.recut(part, [1])))
    alone = MLP(cut, **experiments.READER | {"epochs": 2})(CONFIG | {"lr": 0.3, "seed": 1})
    assert again.loss[1, 1] == pytest.approx(float(alone.loss), rel=1e-5)
    assert again.accuracy[1, 1] == pytest.approx(float(alone.values["accuracy"]))


def test_a_rerun_on_the_same_cut_changes_weights_and_order_alone(part):
    result = experiments.rerun(part, [CONFIG], [1, 2], anew=False, epochs=1)
    alone = MLP(part, **experiments.READER | {"epochs": 1})(CONFIG | {"seed": 2})
    assert result.loss[0, 1] == pytest.approx(float(alone.loss), rel=1e-5)


def test_the_regression_is_scikit_learns_with_the_penalty_that_validation_chose(part):
    result = experiments.regression(part, [5])
    losses = {}
    for C in experiments.PENALTIES:
        model = LogisticRegression(C=C, max_iter=2000).fit(part.x_train, part.y_train)
        losses[C] = log_loss(part.y_val, model.predict_proba(part.x_val))
    best = min(losses, key=losses.get)
    x, y, xv, yv = (a[0] for a in experiments.recut(part, [5])[:4])
    theirs = LogisticRegression(C=best, max_iter=2000).fit(x, y)
    assert result.searched_loss == pytest.approx(losses[best])
    assert result.loss[0, 0] == pytest.approx(log_loss(yv, theirs.predict_proba(xv)))
    assert result.accuracy[0, 0] == theirs.score(xv, yv)


def test_a_paired_difference_has_its_error_and_its_count():
    a, b = np.array([[0.9, 0.8, 0.7]]), np.array([[0.8, 0.8, 0.5]])
    result = experiments.paired(a, b, 100)
    assert result == (pytest.approx(10), pytest.approx(10 / 3**0.5), 2, 3)
    assert str(result) == "+10.00 ± 5.77, ahead on 2 of 3"


def test_with_and_without_batch_norm_try_the_same_points(part):
    accuracy = experiments.ease(part, seeds=2, n=8, epochs=1)
    assert accuracy.shape == (2, 2, 8)
    assert (accuracy[0].mean(axis=1) > accuracy[1].mean(axis=1)).all()
    assert ((accuracy >= 0) & (accuracy <= 1)).all()


def test_the_shipped_reader_has_precise_statistics(part):
    reader, average = experiments.ship(part, CONFIG | {"epochs": 1}, seed=1)
    precise = mlp_numpy.precise_running(reader.params, part.x_train)
    for i, (mean, var) in precise.items():
        np.testing.assert_allclose(reader.running[i].mean, mean)
        np.testing.assert_allclose(reader.running[i].var, var)
        assert np.abs(average[i].mean - mean).max() > 1e-3


def test_the_reader_is_folded_and_served(part):
    reader, _ = experiments.ship(part, CONFIG | {"epochs": 1}, seed=1)
    layers = export.folded(*reader, eps=experiments.EPS)
    served = [serve.read(layers, x) for x in part.x_val[:50]]
    np.testing.assert_array_equal(served, reader.logits(part.x_val[:50]).argmax(axis=1))


# --- thresholds ------------------------------------------------------------------------------------------------


def test_the_bound_is_that_of_clopper_and_pearson():
    for wrong, n in ((0, 4), (2, 359), (5, 40), (3, 3)):
        theirs = binomtest(wrong, n, alternative="less").proportion_ci(0.95, "exact").high
        assert experiments.upper_bound(wrong, n) == pytest.approx(theirs)
    assert experiments.upper_bound(0, 300) == pytest.approx(1 - 0.05 ** (1 / 300))


def test_the_threshold_is_that_of_the_exercise_on_training_a_softmax():
    rng = np.random.default_rng(0)
    confidence = rng.random(300)
    right = rng.random(300) < confidence
    for target in (0.001, 0.1, 0.3):
        cut = experiments.cuts(confidence, right)
        theirs = training_checks.lowest(confidence, right, target, training_checks.bound)
        assert experiments.threshold(cut, target) == theirs


def test_cuts_go_down_from_the_surest():
    cut = experiments.cuts(np.array([0.5, 0.9, 0.7]), np.array([False, True, True]))
    np.testing.assert_allclose(cut.coverage, [1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(cut.error, [0, 0, 1 / 3])
    np.testing.assert_allclose(cut.confidence, [0.9, 0.7, 0.5])


def test_promises_are_broken_in_worlds_where_the_target_is_tight_and_not_where_it_is_wide():
    world = np.random.default_rng(0).uniform(0.5, 1, 500)
    tight, coverage = experiments.broken_promises(world, 0.1, n=200, repeats=200)
    assert 0 < tight < 0.1
    assert 0 < coverage < 0.8
    assert experiments.broken_promises(world, 0.6, n=200, repeats=20) == (0, pytest.approx(1, abs=0.02))


def test_temperatures_are_fitted_on_one_half_and_measured_on_the_other(one):
    result, both = one
    assert both.z[0].shape == (3, 179, 10)
    assert both.z[1].shape[:2] == both.y[1].shape == both.x.shape[:2] == (3, 180)
    heat = experiments.temperatures(both)
    assert heat.fitted.shape == heat.before.shape == heat.after.shape == (3,)
    assert experiments.nll(both.z[1][0] / heat.fitted[0], both.y[1][0]) == pytest.approx(heat.after[0])
    whole = [
        experiments.nll(np.concatenate([a[k] for a in both.z]), np.concatenate([a[k] for a in both.y]))
        for k in range(3)
    ]
    np.testing.assert_allclose(whole, result.loss[0], rtol=1e-4)


def test_shifted_images_are_read_worse(one):
    result, both = one
    shifts = experiments.shifted(result, both, target=0.1)
    assert (
        shifts.accuracy.shape == shifts.coverage.shape == shifts.error.shape == (len(experiments.SHIFTS), 3)
    )
    assert (shifts.accuracy[4] < shifts.accuracy[0] - 0.1).all()
    none = experiments.shifted(result, both, target=1e-6)
    assert (none.coverage == 0).all()
    assert (none.error == 0).all()


def test_the_shifts_keep_the_shape_and_the_dtype():
    x = np.random.default_rng(0).random((2, 3, 64)).astype("float32")
    for change in experiments.SHIFTS.values():
        assert change(x).shape == x.shape
        assert change(x).dtype == x.dtype
    moved = experiments.SHIFTS["one pixel to the right"](x).reshape(2, 3, 8, 8)
    np.testing.assert_array_equal(moved[..., 1:], x.reshape(2, 3, 8, 8)[..., :-1])


# --- the card --------------------------------------------------------------------------------------------------

FULL = Card(
    name="reader",
    use="digits",
    not_for="letters",
    data="digits",
    space="rate",
    edges="none",
    trials=8,
    diverged=1,
    studies=2,
    searched_loss=0.03,
    fresh_loss=0.06,
    gains={"regression": Paired(1.0, 0.2, 9, 10)},
    varies="the cut",
    statistics="precise",
    temperature=1.0,
    calibration_error=0.01,
    calibration_null=0.02,
    target=0.02,
    threshold=0.8,
    bound=0.018,
    ports={"Keras": 4e-6, "NumPy": 0.0},
    one_at_a_time=True,
    looks=("once",),
    wrong=Count(6, 360),
    answered=Count(340, 360),
    wrong_answered=Count(1, 340),
    limits={"noise": "8 %"},
    unknown=("other writers",),
)
EMPTY = Card(name="reader", use="digits", not_for="", data="digits")


def without(**changes):
    return Card(**{name: getattr(FULL, name) for name in FULL.__dataclass_fields__} | changes)


def test_a_count_has_the_exact_interval():
    for k, n in ((0, 344), (6, 360), (5, 5)):
        theirs = binomtest(k, n).proportion_ci(0.95, "exact")
        assert Count(k, n).interval() == pytest.approx((theirs.low, theirs.high))
    assert str(Count(6, 360)) == "6 of 360 (1.7 %, 95 % interval 0.6 to 3.6 %)"


def test_a_full_card_gets_all_points_and_an_empty_one_hardly_any():
    full, empty = review(FULL), review(EMPTY)
    assert (full.honesty, full.accuracy, full.missing) == (24, 3, ())
    assert str(full) == "honesty 24 of 24, accuracy 3 of 3"
    assert (empty.honesty, empty.accuracy) == (0, 0)
    assert len(empty.missing) == len(cards.HONESTY + cards.ACCURACY)


@pytest.mark.parametrize(
    ("changes", "lost", "said"),
    [
        ({"looks": ("once", "again")}, 3, "opened once"),
        ({"looks": ()}, 3, "opened once"),
        ({"gains": {"regression": Paired(1.0, 0.2, 4, 4)}}, 3, "no paired seeds"),
        ({"fresh_loss": None}, 2, "fresh seeds"),
        ({"edges_left": ("lr",)}, 2, "end of a range"),
        ({"edges": None}, 2, "end of a range"),
        ({"diverged": None}, 1, "diverged"),
        ({"studies": 1}, 1, "one search"),
        ({"statistics": None}, 1, "statistics"),
        ({"calibration_null": None}, 2, "perfect model"),
        ({"bound": None}, 2, "upper bound"),
        ({"ports": {"Keras": 0.1}}, 2, "no proof of the port"),
        ({"ports": {}}, 2, "no proof of the port"),
        ({"one_at_a_time": False}, 1, "one example alone"),
        ({"limits": {}}, 2, "not known"),
        ({"gains": {"regression": Paired(0.3, 0.2, 6, 10)}}, 2, "two standard errors"),
        ({"wrong_answered": Count(9, 340)}, 1, "the test part kept"),
    ],
)
def test_what_a_card_lacks_is_named_and_costs_points(changes, lost, said):
    result = review(without(**changes))
    assert result.honesty + result.accuracy == 27 - lost
    assert len(result.missing) == 1
    assert said in result.missing[0]
    assert str(result).endswith(result.missing[0])


def test_no_card_is_an_error():
    with pytest.raises(TypeError, match="card must be a Card"):
        review("a card")


def test_a_card_prints_what_it_was_given_and_what_is_missing():
    words = str(FULL)
    shown = FULL._repr_mimebundle_()
    assert shown["text/plain"] == words
    assert shown["text/html"].count("<tr>") == words.count("\n|") - len(FULL.sections())
    assert "<caption>Model card: reader</caption>" in shown["text/html"]
    assert EMPTY._repr_mimebundle_()["text/html"].count(f"<em>{cards.SILENT}</em>") == 19
    for said in (
        "| trials | 8 |",
        "| loss on fresh seeds | 0.060 |",
        "| points above regression | +1.00 ± 0.20, ahead on 9 of 10 |",
        "| calibration error | 0.010; a perfect reader stays below 0.020 in 95 of 100 samples |",
        "| promise | at most 2 % of the answers wrong, answer from a confidence of 0.80 |",
        "| largest difference of a logit | Keras: below 1e-05; NumPy: none |",
        "| opened for | once |",
        "| noise | 8 % |",
    ):
        assert said in words
    assert cards.SILENT not in words
    assert str(EMPTY).count(cards.SILENT) == 19
    assert "| calibration error | 0.010 |" in str(without(calibration_null=None))
    assert "| one at a time as in a batch | NO |" in str(without(one_at_a_time=False))


# --- figures ---------------------------------------------------------------------------------------------------


def test_an_axis_plot_draws_huge_losses_at_its_ceiling():
    space = Space(lr=Log(0.01, 1))
    losses = [0.1, 1e9, np.nan, np.inf]
    study = Study([Done(i, {"lr": 0.02 * (i + 1)}, loss) for i, loss in enumerate(losses)], space)
    ax = figures.axis(plt.figure().subplots(), study, "lr")
    drawn = np.concatenate([line.get_ydata() for line in ax.get_lines()])
    assert figures.CEILING in drawn
    assert 1e9 not in drawn
    assert "diverged (2)" in [line.get_label() for line in ax.get_lines()]


def test_the_warning_at_an_end_of_a_range_stands_where_no_trial_lies():
    space = Space(lr=Log(0.001, 1))
    study = Study(
        [Done(i, {"lr": lr}, 1 / (1 + lr)) for i, lr in enumerate((0.01, 0.1, 0.8, 0.9, 0.99))], space
    )
    ax = figures.axis(plt.figure().subplots(), study, "lr")
    (words,) = ax.texts
    assert (words.get_position(), words.get_ha()) == ((0.04, 0.42), "left")


def test_the_curse_shows_every_run():
    ax = figures.curse(plt.figure().subplots(), [0.03, 0.05], np.full((2, 4), 0.06), np.full((2, 3), 0.09))
    assert [len(line.get_xdata()) for line in ax.get_lines()] == [8, 6, 2]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "same cut, new weights",
        "new cuts",
        "in the search",
    ]


def test_the_arms_are_joined_by_seed():
    ax = figures.arms(plt.figure().subplots(), {"a": np.array([[0.9, 0.8]]), "b": np.array([0.95, 0.9])})
    np.testing.assert_allclose(ax.get_lines()[0].get_xdata(), [10, 5])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]


def test_the_figures_of_calibration_threshold_shifts_and_ease(one):
    result, both = one
    axes = plt.figure().subplots(1, 2)
    heat = experiments.temperatures(both)
    figures.calibration(axes, 0.01, np.linspace(0, 0.02, 50), heat)
    np.testing.assert_allclose(axes[1].get_lines()[0].get_ydata(), heat.after - heat.before)

    cut = experiments.cuts(np.linspace(0.5, 1, 100), np.ones(100, bool))
    ax = figures.cut(plt.figure().subplots(), cut, 0.05, experiments.threshold(cut, 0.05))
    assert ax.get_lines()[-1].get_xdata()[0] == 100

    axes = plt.figure().subplots(1, 2)
    figures.shifts(axes, experiments.shifted(result, both, 0.1), 0.1)
    assert len(axes[0].get_lines()[0].get_xdata()) == 3 * len(experiments.SHIFTS)

    ax = figures.ease(plt.figure().subplots(), np.array([np.full((2, 4), 0.95), np.full((2, 4), 0.5)]))
    assert [line.get_ydata()[-1] for line in ax.get_lines()] == [0] * 6
    assert ax.get_lines()[2].get_ydata()[150] == 100


# --- the checks of the exercises -------------------------------------------------------------------------------


def letters(target, level):
    return np.ceil(np.log(1 - level) / np.log(1 - target) - 1e-9)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda target, level: ..., "not attempted yet"),
        (letters, "correct"),
        (lambda target, level: 3 / target, "rule of three, an approximation"),
        (lambda target, level: np.ceil(3 / target), "rule of three, rounded up"),
        (lambda target, level: letters(target, level) - 1, "you rounded down"),
        (lambda target, level: np.log(1 - level) / np.log(1 - target), "did not round up"),
        (lambda target, level: letters(level, target), "swapped"),
        (lambda target, level: np.ceil(np.log(level) / np.log(target)), "being right that multiplies"),
        (lambda target, level: 12, "off by up to"),
    ],
)
def test_the_check_of_the_letters(answer, said, capsys):
    checks.letters(answer)
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda searched, fresh: ..., "not attempted yet"),
        (lambda s, f: f[s.argmin()].mean() - s.min(), "correct"),
        (lambda s, f: s.min() - f[s.argmin()].mean(), "sign"),
        (lambda s, f: f.mean(axis=1).min() - s.min(), "chose itself"),
        (lambda s, f: (f.mean(axis=1) - s).mean(), "over all finalists"),
        (lambda s, f: f[s.argmin()].min() - s.min(), "best single seed"),
        (lambda s, f: f[s.argmin()].mean(), "fresh loss alone"),
        (lambda s, f: f[s.argmax()].mean() - s.max(), "largest loss"),
        (lambda s, f: 1.0, "off by up to"),
    ],
)
def test_the_check_of_the_optimism(answer, said, capsys):
    checks.optimism(answer)
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda p, clerk, error: ..., "not attempted yet"),
        (lambda p, clerk, error: (1 - p.max(axis=1)) * error <= clerk, "correct"),
        (lambda p, clerk, error: (1 - p.max(axis=1)) * error > clerk, "MORE"),
        (lambda p, clerk, error: p.max(axis=1) <= clerk / error, "chance 1 - confidence"),
        (lambda p, clerk, error: p.max(axis=1) >= clerk / error, "price ratio"),
        (lambda p, clerk, error: p.max(axis=1), "True or False"),
        (lambda p, clerk, error: p.max(axis=1) > 0.99, "off by up to"),
    ],
)
def test_the_check_of_the_answers(answer, said, capsys):
    checks.answer(answer)
    assert said in capsys.readouterr().out
