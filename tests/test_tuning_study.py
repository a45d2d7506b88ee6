"""The study: the best trial, the table, learning curves, and the same in Optuna's words."""

import itertools
import logging
import subprocess
import sys
import types
import warnings
from html.parser import HTMLParser
from math import inf, isnan, nan

import matplotlib.pyplot as plt
import numpy as np
import pytest

from dlbook.tuning import (
    ASHA,
    PBT,
    Choice,
    Done,
    Integer,
    Linear,
    Log,
    OffOr,
    OneMinusLog,
    Random,
    Result,
    Space,
    Store,
    Study,
    SuccessiveHalving,
    optuna_study,
    run,
)
from dlbook.tuning.study import record, told

SPACE = Space(lr=Log(1e-4, 1), momentum=OneMinusLog(0.5, 0.99))


def config(lr=0.1):
    return {"lr": lr, "momentum": 0.9}


def study(*losses, **more):
    return Study([Done(trial, config(), loss, **more) for trial, loss in enumerate(losses)], SPACE)


# the best


def test_the_best_has_the_smallest_finite_loss_and_of_equal_ones_comes_first():
    found = study(3.0, nan, 1.0, -inf, inf, 1.0, 2.0)
    assert (found.best.trial, found.best.loss) == (2, 1.0)
    assert [one.trial for one in found.top()] == [2, 5, 6, 0]
    assert [one.trial for one in found.top(2)] == [2, 5]
    assert found.infeasible == [1, 3, 4]
    assert len(found) == 7


def test_trials_that_were_trained_longest_come_first():
    done = [
        Done(0, config(), 0.1, 1),
        Done(1, config(), 0.5, 1),
        Done(1, config(), 0.4, 3, 1),
        Done(2, config(), 0.9, 3),
    ]
    found = Study(done, SPACE)
    assert [one.trial for one in found.top()] == [1, 2, 0]
    assert found.best == done[2]
    assert found.losses == {0: 0.1, 1: 0.4, 2: 0.9}
    assert found.trials == {0: done[0], 1: done[2], 2: done[3]}


def test_a_trial_that_diverged_later_is_infeasible():
    found = Study([Done(0, config(), 0.1, 1), Done(0, config(), nan, 3, 1), Done(1, config(), 5.0, 1)], SPACE)
    assert found.infeasible == [0]
    assert found.best.trial == 1


@pytest.mark.parametrize("losses", [(), (nan, inf)])
def test_without_a_feasible_trial_there_is_no_best(losses):
    with pytest.raises(
        ValueError, match=f"study must have a feasible trial, got {len(losses)} of which none is"
    ):
        study(*losses).best  # noqa: B018


# the table


def test_the_table_has_a_row_for_each_trial_in_order():
    done = [
        Done(1, config(0.2), nan, 3, values={"accuracy": 0.5}, seconds=1.0),
        Done(0, config(), 0.5, 1, values={"accuracy": 0.75}),
    ]
    first, second = Study(done, SPACE).table
    assert first == {"trial": 0, "lr": 0.1, "momentum": 0.9, "resource": 1, "loss": 0.5, "accuracy": 0.75}
    assert list(first) == list(second) == ["trial", "lr", "momentum", "resource", "loss", "accuracy"]
    assert isnan(second["loss"])
    assert "resource" not in study(1.0).table[0]


def test_the_table_becomes_a_frame_where_pandas_is_installed(monkeypatch):
    fake = types.ModuleType("pandas")
    fake.DataFrame = lambda rows: ("frame", rows)
    monkeypatch.setitem(sys.modules, "pandas", fake)
    assert study(1.0).frame() == ("frame", study(1.0).table)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(
        ImportError, match=r"pandas is not installed: try `pip install pandas`, or study.table"
    ):
        study(1.0).frame()


def test_it_says_in_a_line_what_was_found():
    assert (
        repr(study(0.25, nan))
        == "Study(2 trials, 1 infeasible, best 0.25 in trial 0: {'lr': 0.1, 'momentum': 0.9})"
    )
    assert repr(study(nan)) == "Study(1 trials, 1 infeasible)"


class Cells(HTMLParser):
    """The rows of a table."""

    def __init__(self, html):
        super().__init__()
        self.rows = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        if tag in ("tr", "caption"):
            self.rows.append([])

    def handle_data(self, text):
        self.rows[-1].append(text)


def test_a_notebook_shows_the_best_ten():
    space = Space(name=Choice("<b>", "&"), lr=Log(1e-4, 1))
    done = [Done(k, {"name": "<b>", "lr": 0.123456}, 20.0 - k) for k in range(19)] + [
        Done(19, {"name": "&", "lr": 1.0}, nan)
    ]
    caption, head, *rows = Cells(Study(done, space)._repr_html_()).rows
    assert caption == ["The best 10 of 20 trials, 1 of them infeasible"]
    assert head == ["trial", "name", "lr", "loss"]
    assert rows[0] == ["18", "<b>", "0.1235", "2"]
    assert len(rows) == 10


# learning curves and lines of descent


def test_a_curve_is_what_was_reported_job_after_job():
    done = [
        Done(0, config(), 0.5, 2, curve=[(1, 0.7), (2, 0.5)]),
        Done(1, config(), 0.6, 2),
        Done(0, config(), 0.3, 4, 2, curve=[(3, 0.4), (4, 0.3)]),
        Done(1, config(), 0.2, 4, 2),
    ]
    found = Study(done, SPACE)
    resources, losses = found.curve(0)
    assert (resources.tolist(), losses.tolist()) == ([1, 2, 3, 4], [0.7, 0.5, 0.4, 0.3])
    resources, losses = found.curve(1)
    assert (resources.tolist(), losses.tolist()) == ([2, 4], [0.6, 0.2])
    resources, losses = study(0.5).curve(0)
    assert (resources.tolist(), losses.tolist()) == ([1], [0.5])


def test_a_line_of_descent_goes_back_through_the_parents():
    def objective(config, state, start, resource):
        return Result(-config["lr"], None)

    space = Space(lr=Log(1e-4, 1))
    sampler = Random(space)
    found = run(objective, space, sampler, PBT(sampler, interval=1, r_max=6, fraction=0.5), n=4)
    copied = False
    for trial in range(4):
        line = found.lineage(trial)
        assert [(one.start, one.resource) for one in line] == [(k, k + 1) for k in range(6)]
        assert line[-1] == found.trials[trial]
        for before, after in itertools.pairwise(line):
            assert before.trial == (after.trial if after.parent is None else after.parent)
            copied |= after.parent is not None
            assert after.parent is not None or after.config == before.config
    assert copied


def test_the_line_of_descent_without_parents_is_the_trial_itself():
    found = run(lambda *given: (1.0, None), SPACE, Random(SPACE), SuccessiveHalving(r_max=3), n=3)
    assert [one.resource for one in found.lineage(0)] == [1, 3]


@pytest.mark.parametrize("method", ["curve", "lineage"])
def test_an_unknown_trial_is_refused(method):
    with pytest.raises(ValueError, match="trial must be one of the 2 in the study, got 2"):
        getattr(study(1.0, 2.0), method)(2)


# there and back


def test_a_job_comes_back_from_the_store_as_it_went_in(tmp_path):
    done = [
        Done(0, {"sizes": (64, 10), "lr": 0.1}, nan),
        Done(
            1,
            {"sizes": (64, 10), "lr": 0.1},
            0.5,
            3,
            1,
            2,
            [(2.0, 0.75), (3.0, 0.5)],
            {"accuracy": 0.9},
            0.25,
        ),
    ]
    with Store(tmp_path / "run.jsonl") as store:
        store.append({"asked": [], "told": [record(one) for one in done]})
    first, second = Study.read(tmp_path / "run.jsonl").done
    assert isnan(first.loss)
    assert first._replace(loss=0) == done[0]._replace(loss=0, curve=[])
    assert second == done[1]
    assert record(done[0]).keys() == {"trial", "config", "loss"}


def test_a_store_of_something_else_is_refused(tmp_path):
    with Store(tmp_path / "run.jsonl") as store:
        store.append({"kind": "asked"})
    with pytest.raises(
        ValueError, match=r"path must be the store of a search, .* got a line with \['kind'\]"
    ):
        Study.read(tmp_path / "run.jsonl")
    assert told({"asked": [], "told": []}) == []


def test_what_needs_the_space_says_so():
    with pytest.raises(
        ValueError, match=r"study must know its space, got None: write Study.read\(path, space\)"
    ):
        Study([Done(0, config(), 1.0)]).to_optuna()


# in Optuna's words


MIXED = Space(
    lr=Log(1e-4, 1),
    momentum=OneMinusLog(0.5, 0.99),
    dropout=Linear(0, 0.5),
    width=Integer(3, 7),
    hidden=Integer(16, 256, log=True),
    act=Choice("relu", "tanh"),
    sizes=Choice((64,), (64, 64)),
    decay=OffOr(Log(1e-6, 1e-2)),
    batch_size=64,
)


def test_a_search_becomes_an_optuna_study_with_the_same_numbers():
    optuna = pytest.importorskip("optuna")

    def objective(config):
        return Result(
            nan if config["lr"] > 0.1 else config["lr"] + config["dropout"], None, [(1, 2.0)], {"extra": 3.0}
        )

    found = run(objective, MIXED, Random(MIXED), n=200)
    theirs = found.to_optuna()
    assert len(theirs.trials) == 200
    assert theirs.best_value == found.best.loss
    assert theirs.best_trial.number == found.best.trial
    for trial, one in zip(theirs.trials, found.trials.values(), strict=True):
        assert trial.params["lr"] == one.config["lr"]
        assert trial.params["1 - momentum"] == 1 - one.config["momentum"]
        assert trial.params["width"] == one.config["width"]
        assert trial.params["sizes"] == repr(one.config["sizes"])
        assert trial.params["decay (unit)"] == MIXED.scales["decay"].unit(one.config["decay"])
        assert trial.intermediate_values == {1: 2.0}
        assert trial.user_attrs == {"trial": one.trial, "extra": 3.0}
        diverged = one.config["lr"] > 0.1
        assert trial.state == (optuna.trial.TrialState.FAIL if diverged else optuna.trial.TrialState.COMPLETE)
        assert trial.value == (None if diverged else one.loss)
        for name, distribution in trial.distributions.items():
            assert distribution._contains(distribution.to_internal_repr(trial.params[name]))
    distributions = theirs.trials[0].distributions
    assert distributions["lr"] == optuna.distributions.FloatDistribution(1e-4, 1, log=True)
    assert distributions["1 - momentum"] == optuna.distributions.FloatDistribution(1 - 0.99, 0.5, log=True)
    assert distributions["dropout"] == optuna.distributions.FloatDistribution(0, 0.5)
    assert distributions["hidden"] == optuna.distributions.IntDistribution(16, 256, log=True)
    assert distributions["act"] == optuna.distributions.CategoricalDistribution(["relu", "tanh"])
    assert "batch_size" not in distributions


def test_the_ends_of_a_scale_are_in_the_distribution():
    pytest.importorskip("optuna")
    for low, high in ((0.5, 0.99), (0.9, 0.999), (0.0, 0.9999)):
        scale = OneMinusLog(low, high)
        (distribution,) = optuna_study.distributions(Space(momentum=scale)).values()
        for u in (0, 1, *np.random.default_rng(0).random(50).tolist()):
            (value,) = optuna_study.params(Space(momentum=scale), {"momentum": scale.value(u)}).values()
            assert distribution._contains(value)


def test_stopped_trials_are_pruned_and_their_rungs_are_intermediate_values():
    optuna = pytest.importorskip("optuna")
    found = run(lambda config, *rest: (config["lr"], None), SPACE, Random(SPACE), ASHA(r_max=9), n=9)
    for trial, one in zip(found.to_optuna().trials, found.trials.values(), strict=True):
        states = optuna.trial.TrialState
        assert trial.state == (states.COMPLETE if one.resource == 9 else states.PRUNED)
        assert list(trial.intermediate_values) == [1, 3, 9][: [1, 3, 9].index(one.resource) + 1]
    assert found.to_optuna().best_value == found.best.loss


def test_optuna_announces_nothing_and_keeps_its_own_setting():
    optuna = pytest.importorskip("optuna")
    before = optuna.logging.get_verbosity()
    said, listener = [], logging.Handler()
    listener.emit = said.append
    logging.getLogger("optuna").addHandler(listener)
    try:
        optuna.logging.set_verbosity(optuna.logging.INFO)
        study(1.0).to_optuna()
        assert said == []
        assert optuna.logging.get_verbosity() == optuna.logging.INFO
    finally:
        logging.getLogger("optuna").removeHandler(listener)
        optuna.logging.set_verbosity(before)


def test_all_of_optunas_plots_can_be_drawn():
    pytest.importorskip("optuna")
    from optuna.visualization import matplotlib as plots

    space = Space(lr=Log(1e-4, 1), momentum=OneMinusLog(0.5, 0.99), act=Choice("relu", "tanh"))
    theirs = run(lambda config: abs(config["lr"] - 0.01), space, Random(space), n=30).to_optuna()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # each says that it is experimental
        for plot in ("contour", "edf", "optimization_history", "parallel_coordinate", "rank", "slice"):
            getattr(plots, f"plot_{plot}")(theirs)
    plt.close("all")


def test_without_optuna_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r'optuna is not installed: try `pip install "dlbook\[search\]"`'):
        study(1.0).to_optuna()


def test_importing_optuna_says_nothing_in_a_notebook_without_widgets():
    pytest.importorskip("optuna")
    script = """
import sys, types
sys.modules |= {"ipykernel.zmqshell": types.ModuleType("kernel"), "ipywidgets": None}
import IPython
IPython.get_ipython = object
from dlbook.tuning import optuna_study
optuna_study.load()
assert "tqdm.autonotebook" in sys.modules
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
