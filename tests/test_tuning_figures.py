"""Reading a search: ends of ranges, isolation, importance, and that the figures show what the study holds."""

from itertools import pairwise
from math import inf, nan

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlbook.tuning import (
    PBT,
    Choice,
    Done,
    Fixed,
    Integer,
    Linear,
    Log,
    OffOr,
    OneMinusLog,
    Random,
    Result,
    Scale,
    Sobol,
    Space,
    Study,
    SuccessiveHalving,
    analysis,
    figures,
    run,
)
from dlbook.tuning.analysis import Importance, edges, importance, isolate

SPACE = Space(
    lr=Log(1e-4, 1),
    momentum=OneMinusLog(0.5, 0.999),
    dropout=Linear(0, 0.5),
    layers=Integer(1, 3),
    hidden=Integer(16, 256, log=True),
    act=Choice("relu", "tanh", "gelu"),
    decay=OffOr(Log(1e-6, 1e-2)),
    sizes=Fixed((1, 2)),
)


class Square(Scale):
    """A scale of a reader's own, which knows no `low`."""

    def _value(self, u):
        return u**2

    def _unit(self, v):
        return v**0.5


@pytest.fixture
def ax():
    yield plt.figure().subplots()
    plt.close("all")


def objective(config):
    loss = (np.log10(config["lr"]) + 2) ** 2 + config["dropout"] + 0.1 * (config["act"] == "tanh")
    return nan if config["lr"] > 0.5 else loss


@pytest.fixture(scope="module")
def study():
    return run(objective, SPACE, Sobol(SPACE, seed=0), n=64)


@pytest.fixture(scope="module")
def halving():
    space = Space(lr=Log(1e-4, 1), dropout=Linear(0, 0.5), act="relu")

    def train(config, state, start, resource):
        loss = objective(config) / resource
        return Result(nan if resource == 3 and config["dropout"] < 0.1 else loss, None)

    return run(train, space, Sobol(space, seed=0), SuccessiveHalving(r_max=9), n=27)


@pytest.fixture(scope="module")
def population():
    space = Space(lr=Log(1e-4, 1))
    sampler = Random(space)
    return run(
        lambda config, *given: (-config["lr"], None), space, sampler, PBT(sampler, interval=2, r_max=8), n=6
    )


def of(space, rows):
    """A study of these (values, loss)."""
    configs = [dict(zip(space.scales, values, strict=True)) for values, _ in rows]
    return Study([Done(k, config, rows[k][1]) for k, config in enumerate(configs)], space)


# ends of ranges


@pytest.mark.parametrize(
    ("scale", "values", "end"),
    [
        (Log(1e-4, 1), (1e-4, 2e-4), "low"),
        (Log(1e-4, 1), (0.5, 0.9), "high"),
        (Log(1e-4, 1), (0.01, 0.1), None),
        (OneMinusLog(0.9, 0.999), (0.9985, 0.9988), "high"),
        (OneMinusLog(0.9, 0.999), (0.99, 0.99), None),
        (Integer(1, 4), (1, 1), "low"),
        (Integer(1, 4), (4, 4), "high"),
        (Integer(1, 4), (2, 3), None),
        (Integer(1, 1000), (3, 5), "low"),
        (Choice("a", "b"), ("a", "a"), None),
        (OffOr(Log(1e-6, 1e-2)), (0.0, 0.0), None),
        (OffOr(Log(1e-6, 1e-2)), (1e-6, 1e-6), None),
        (OffOr(Log(1e-6, 1e-2)), (9e-3, 9e-3), "high"),
    ],
)
def test_a_range_is_too_narrow_where_the_best_lie_at_its_end(scale, values, end):
    space = Space(x=scale)
    best, middle = values, scale.value(0.62)
    rows = [((best[k % 2],), 0.1 * k) for k in range(3)] + [((middle,), 1.0 + k) for k in range(9)]
    found = edges(of(space, rows))
    assert found == ({} if end is None else {"x": end})


def test_it_takes_the_best_and_most_of_the_best():
    space = Space(x=Linear(0, 1))
    assert edges(of(space, [((0.99,), 0), ((0.5,), 1), ((0.5,), 2), ((0.5,), 3), ((0.98,), 4)])) == {}
    assert edges(of(space, [((0.5,), 0), ((0.99,), 1), ((0.99,), 2), ((0.99,), 3), ((0.98,), 4)])) == {}
    assert edges(of(space, [((0.99,), 0), ((0.01,), 1), ((0.99,), 2), ((0.01,), 3), ((0.98,), 4)])) == {
        "x": "high"
    }
    assert edges(of(space, [((0.99,), 0), ((0.5,), 1), ((0.5,), 2)]), best=1) == {"x": "high"}
    assert edges(of(space, [((0.8,), 0)]), margin=0.25) == {"x": "high"}
    assert edges(of(space, [((0.99,), 0), ((0.5,), 1)])) == {}
    assert edges(of(space, [((0.99,), nan)])) == {}


def test_a_search_in_a_good_range_is_at_no_end(study):
    assert "lr" not in edges(study)
    narrow = SPACE.replace(lr=Log(0.05, 1))
    assert edges(run(objective, narrow, Sobol(narrow, seed=0), n=64))["lr"] == "low"


# isolation


def test_each_part_of_an_axis_has_the_best_of_its_trials(study):
    options = isolate(study, "act")
    assert [part.label for part in options] == ["relu", "tanh", "gelu"]
    assert sorted(trial for part in options for trial in part.trials) == list(range(64))
    for part in options:
        fit = [study.losses[trial] for trial in part.trials if np.isfinite(study.losses[trial])]
        assert part.best.loss == min(fit)
        assert {study.trials[trial].config["act"] for trial in part.trials} == {part.label}


@given(seed=st.integers(0, 100), bins=st.integers(1, 9))
def test_the_parts_of_every_axis_hold_each_trial_once_and_what_they_say(seed, bins):
    found = Study([Done(i, Random(SPACE, seed=seed).config(i), float(i)) for i in range(20)], SPACE)
    for name, scale in SPACE.scales.items():
        parts = isolate(found, name, bins)
        assert sorted(trial for part in parts for trial in part.trials) == list(range(20))
        units = [[scale.unit(found.trials[trial].config[name]) for trial in part.trials] for part in parts]
        ends = [(min(part), max(part)) for part in units if part]
        assert all(last <= first for (_, last), (first, _) in pairwise(ends))
        assert [part.best.trial for part in parts if part.best] == [
            min(part.trials) for part in parts if part.trials
        ]


def test_parts_are_named_by_their_values():
    found = Study([Done(0, SPACE.config((0.5,) * 7), 1.0)], SPACE)
    assert [part.label for part in isolate(found, "layers")] == ["1", "2", "3"]
    assert [part.label for part in isolate(found, "layers", 2)] == ["1 – 2", "2 – 3"]
    assert [part.label for part in isolate(found, "lr", 2)] == ["0.0001 – 0.01", "0.01 – 1"]
    assert [part.label for part in isolate(found, "decay", 2)] == ["0.0", "1e-06 – 0.0001", "0.0001 – 0.01"]
    assert [len(part.trials) for part in isolate(found, "decay", 2)] == [0, 1, 0]
    assert isolate(of(Space(x=Log(1e-4, 1)), [((1.0,), 0.5)]), "x", 2)[1].trials == [0]


def test_only_trials_that_were_trained_longest_can_be_best():
    space = Space(x=Linear(0, 1))
    done = [Done(0, {"x": 0.1}, 0.1, 1), Done(1, {"x": 0.2}, 0.5, 3), Done(2, {"x": 0.9}, 0.1, 1)]
    low, high = isolate(Study(done, space), "x", 2)
    assert low.best.trial == 1
    assert high == ("0.5 – 1", [2], None)


# importance


def test_what_matters_gets_its_share_of_the_variance():
    """y = 3 a + b with a, b uniform: 9/10 and 1/10 of the variance."""
    space = Space(a=Linear(0, 1), b=Linear(0, 1), c=Linear(0, 1))
    found = run(lambda config: 3 * config["a"] + config["b"], space, Sobol(space), n=256)
    result = importance(found)
    assert list(result.shares) == ["a", "b", "c"]
    assert result.shares["a"] == pytest.approx(0.9, abs=0.04)
    assert result.shares["b"] == pytest.approx(0.1, abs=0.04)
    assert result.shares["c"] < 0.01
    assert result.together < 0.05
    assert result.fit > 0.9


def test_what_acts_only_together_is_not_given_to_either():
    space = Space(a=Linear(-1, 1), b=Linear(-1, 1))
    result = importance(run(lambda config: config["a"] * config["b"], space, Sobol(space), n=256))
    assert max(result.shares.values()) < 0.1
    assert result.together > 0.8


def test_noise_has_a_forest_that_says_so():
    space = Space(a=Linear(0, 1), b=Linear(0, 1))
    rng = np.random.default_rng(0)
    assert importance(run(lambda config: float(rng.random()), space, Sobol(space), n=64)).fit < 0.1


def test_a_constant_loss_has_no_shares():
    space = Space(a=Linear(0, 1), b=Linear(0, 1))
    with np.errstate(all="ignore"):
        result = importance(run(lambda config: 1.0, space, Sobol(space), n=16))
    assert result.shares == {"a": 0.0, "b": 0.0}


def test_diverged_and_huge_losses_count_as_the_cap():
    found = of(
        Space(x=Linear(0, 1)), [((0.1,), 2.0), ((0.2,), nan), ((0.3,), 1e9), ((0.4,), inf), ((0.5,), 1.0)]
    )
    assert analysis.losses(found, 2.3).tolist() == [2.0, 2.3, 2.3, 2.3, 1.0]
    assert analysis.losses(found).tolist() == [2.0, 1e9, 1e9, 1e9, 1.0]
    assert analysis.unit_points(found).tolist() == [[0.1], [0.2], [0.3], [0.4], [0.5]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda study: edges(study, best=0), "best must be a whole number of at least 1"),
        (lambda study: edges(study, margin=0.6), r"margin must lie in \[0, 0.5\], got 0.6"),
        (lambda study: isolate(study, "lr", 0), "bins must be a whole number of at least 1"),
        (
            lambda study: isolate(study, "sizes"),
            "name must be of a hyperparameter that varies, lr, .* got 'sizes'",
        ),
        (lambda study: importance(study, trees=1), "trees must be a whole number of at least 10, got 1"),
        (lambda study: importance(study, points=1), "points must be a whole number of at least 2"),
        (
            lambda study: importance(Study(study.done[:9], SPACE)),
            "at least 10 feasible trials to learn from, got",
        ),
        (lambda study: edges(Study(study.done)), "study must know its space"),
        (
            lambda study: figures.rungs(plt.figure().subplots(), study),
            "study must be of a search with a scheduler",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused(study, call, message):
    with pytest.raises(ValueError, match=message):
        call(study)


# figures


def drawn(ax):
    """The lines of a figure by what the legend would say."""
    return {line.get_label(): line for line in ax.lines}


def test_an_axis_plot_has_every_trial_where_its_value_lies(ax, study):
    assert figures.axis(ax, study, "lr") is ax
    lines = drawn(ax)
    good, bad = len(study) - len(study.infeasible), len(study.infeasible)
    assert list(lines) == [f"trials ({good - 1})", f"diverged ({bad})", "best"]
    points = {(x, y) for x, y in lines[f"trials ({good - 1})"].get_xydata().tolist()}
    assert points == {(SPACE.scales["lr"].unit(one.config["lr"]), one.loss) for one in study.top()[1:]}
    assert lines["best"].get_xydata().tolist() == [
        [SPACE.scales["lr"].unit(study.best.config["lr"]), study.best.loss]
    ]
    assert lines[f"diverged ({bad})"].get_xdata().max() <= 1
    assert {line.get_marker() for line in ax.lines} == {"o", "x", "*"}
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["$10^{-4}$", "0.001", "0.01", "0.1", "1"]
    assert not ax.texts
    assert ax.get_yscale() == "log"


@pytest.mark.parametrize(("low", "high", "word"), [(0.05, 1, "low"), (1e-5, 5e-3, "high")])
def test_an_axis_plot_warns_of_a_range_that_is_too_narrow(ax, low, high, word):
    space = SPACE.replace(lr=Log(low, high))
    figures.axis(ax, run(objective, space, Sobol(space, seed=0), n=64), "lr")
    assert f"the best lie at the {word} end" in ax.texts[0].get_text()
    assert len(ax.patches) == 1


def test_options_are_drawn_beside_each_other_within_their_part(ax, study):
    figures.axis(ax, study, "act")
    for line in ax.lines:
        for x in line.get_xdata():
            assert abs(x * 3 % 1 - 0.5) <= 0.3 + 1e-9
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["relu", "tanh", "gelu"]


def test_stopped_trials_are_drawn_apart(ax, halving):
    figures.axis(ax, halving, "lr")
    stopped = sum(one.resource < 9 for one in halving.top())
    bad = len(halving.infeasible)
    assert list(drawn(ax)) == [
        "trained longest (2)",
        f"stopped early ({stopped})",
        f"diverged ({bad})",
        "best",
    ]
    assert [line.get_marker() for line in ax.lines] == ["o", "s", "x", "*"]


def test_an_axis_plot_of_a_search_in_which_all_diverged(ax):
    figures.axis(ax, of(Space(x=Linear(0, 1)), [((0.5,), nan), ((0.2,), inf)]), "x")
    assert list(drawn(ax)) == ["diverged (2)"]
    assert ax.get_yscale() == "linear"


def test_an_isolation_plot_joins_the_best_of_the_parts(ax, study):
    assert figures.isolation(ax, study, "act") is ax
    (line,) = [line for line in ax.lines if line.get_label() == "best of the part"]
    assert line.get_ydata().tolist() == [part.best.loss for part in isolate(study, "act")]
    words = [tick.get_text() for tick in ax.get_xticklabels()]
    assert words[0] == f"relu\n{len(isolate(study, 'act')[0].trials)} trials"


def test_parallel_coordinates_have_a_line_for_each_trial(ax, study):
    assert figures.parallel(ax, study, best=4) is ax
    lines = [line for line in ax.lines if len(line.get_xdata()) == 8]
    assert len(lines) == 64
    assert sum(line.get_marker() == "o" for line in lines) == 4
    assert sum(line.get_linestyle() == ":" for line in lines) == len(study.infeasible)
    assert {text.get_text() for text in ax.texts} >= {
        "best",
        "worst",
        f"diverged ({len(study.infeasible)})",
        "relu",
    }
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [*SPACE.scales, "rank"]
    (star,) = [line for line in ax.lines if line.get_marker() == "*"]
    assert star.get_xydata().tolist() == [[7, 1]]


def test_parallel_coordinates_of_one_good_trial(ax):
    figures.parallel(ax, of(Space(x=Linear(0, 1)), [((0.5,), 1.0)]))
    assert "diverged" not in " ".join(text.get_text() for text in ax.texts)


def test_learning_curves_show_the_best_and_where_others_diverged(ax):
    space = Space(x=Linear(0, 1))
    done = [
        Done(0, {"x": 0.1}, 0.5, curve=[(1, 0.8), (2, 0.5)]),
        Done(1, {"x": 0.2}, nan, curve=[(1, 0.9), (2, nan), (3, nan)]),
        Done(2, {"x": 0.3}, 0.7),
    ]
    assert figures.curves(ax, Study(done, space)) is ax
    lines = ax.lines
    assert drawn(ax)["trial 0"].get_xydata().tolist() == [[1, 0.8], [2, 0.5]]
    assert [line.get_xdata().tolist() for line in lines] == [[1, 2], [1], [2], [1]]
    assert [line.get_marker() for line in lines] == ["o", "", "x", "."]


def test_learning_curves_of_diverged_trials_alone(ax):
    figures.curves(ax, of(Space(x=Linear(0, 1)), [((0.5,), nan)]))
    assert ax.get_legend() is None


def test_rungs_say_how_many_were_there_and_who_went_on(ax, halving):
    assert figures.rungs(ax, halving) is ax
    counts = [sum(one.resource == at for one in halving.done) for at in (1, 3, 9)]
    words = [text.get_text() for text in ax.texts]
    for word, count, at in zip(words, counts, (1, 3, 9), strict=True):
        bad = sum(one.resource == at and not np.isfinite(one.loss) for one in halving.done)
        assert word == f"{count} trials" + f"\n{bad} diverged" * bool(bad)
    assert any("diverged" in word for word in words)
    squares = [line for line in ax.lines if line.get_marker() == "s"]
    stopped = [one for one in halving.trials.values() if one.resource < 9 and np.isfinite(one.loss)]
    assert sum(len(line.get_xdata()) for line in squares) == len(stopped)
    (star,) = [line for line in ax.lines if line.get_marker() == "*"]
    assert star.get_xydata().tolist() == [[halving.best.resource, halving.best.loss]]


def test_rungs_without_a_feasible_trial(ax):
    figures.rungs(ax, Study([Done(0, {"x": 0.5}, nan, 1)], Space(x=Linear(0, 1))))
    assert [text.get_text() for text in ax.texts] == ["1 trials\n1 diverged"]


def test_importance_has_a_bar_for_each_share_and_one_for_the_rest(ax):
    result = Importance({"lr": 0.7, "momentum": 0.1}, 0.2, 0.93)
    assert figures.importance(ax, result) is ax
    assert [bar.get_width() for bar in ax.patches] == [0.7, 0.1, 0.2]
    assert [bar.get_hatch() for bar in ax.patches] == [None, None, "///"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["lr", "momentum", "together"]
    assert [text.get_text() for text in ax.texts] == ["0.70", "0.10", "0.20"]
    assert "0.93" in ax.get_xlabel()


def test_a_schedule_is_the_line_of_descent(ax, population):
    assert figures.schedule(ax, population, "lr") is ax
    assert len(ax.lines) == 6
    best = drawn(ax)[f"trial {population.best.trial}, the best"]
    scale = population.space.scales["lr"]
    line = population.lineage(population.best.trial)
    assert best.get_xdata().tolist() == [0, 2, 2, 4, 4, 6, 6, 8]
    assert best.get_ydata()[::2].tolist() == [scale.unit(one.config["lr"]) for one in line]
    assert sum(line.get_linestyle() == "--" for line in ax.lines) == 5


def test_a_schedule_without_a_best(ax):
    space = Space(x=Linear(0, 1))
    figures.schedule(ax, Study([Done(0, {"x": 0.5}, nan, 2)], space), "x")
    assert ax.get_legend() is None


@pytest.mark.parametrize(
    ("scale", "labels"),
    [
        (Log(1e-6, 1), ["$10^{-6}$", "$10^{-4}$", "0.01", "1"]),
        (Log(1e-4, 1e4), ["$10^{-4}$", "0.01", "1", "100", "$10^{4}$"]),
        (Log(0.2, 0.9), ["0.2", "0.4243", "0.9"]),
        (OneMinusLog(0.0, 0.999), ["0", "0.9", "0.99", "0.999"]),
        (OneMinusLog(0.91, 0.98), ["0.91", "0.9576", "0.98"]),
        (Linear(0, 0.5), ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]),
        (Integer(1, 3), ["1", "2", "3"]),
        (Integer(1, 1000, log=True), ["1", "10", "100", "1000"]),
        (Integer(16, 256, log=True), ["16", "63", "256"]),
        (Choice("relu", None), ["relu", "None"]),
        (OffOr(Log(1e-4, 0.1)), ["0", "$10^{-4}$", "0.001", "0.01", "0.1"]),
        (OffOr(Linear(0.1, 0.2), off=None), ["None", "0.1", "0.12", "0.14", "0.16", "0.18", "0.2"]),
        (Square(), ["0", "0.25", "1"]),
        (Linear(0, 3e-7), None),
    ],
)
def test_ticks_are_round_values_where_they_lie(scale, labels):
    places, words = figures.ticks(scale)
    assert labels is None or words == labels
    assert all(0 <= place <= 1 for place in places)
    assert places == sorted(places)
    if isinstance(scale, Linear | Log):
        numbers = [float(word.replace("$10^{", "1e").replace("}$", "")) for word in words]
        inside = [min(max(number, scale.low), scale.high) for number in numbers]
        np.testing.assert_allclose([scale.unit(number) for number in inside], places, atol=1e-4)
