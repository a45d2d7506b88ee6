"""The chapter on pandas and caviar: its experiments on a small scale, its figures and checks, and its last cell."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.stats import spearmanr

from dlbook.tuning import (
    ASHA,
    MLP,
    Hyperband,
    Job,
    Random,
    SuccessiveHalving,
    cost,
    run,
)
from dlbook.tuning import caviar_checks as checks
from dlbook.tuning import caviar_experiments as experiments
from dlbook.tuning import caviar_figures as figures

CHAPTER = Path(__file__).resolve().parent.parent / "chapters" / "pandas_vs_caviar.ipynb"
FIRST = [0.62, 0.35, 0.80, 0.41, 0.29, 0.55, 0.73, 0.33, 0.90, 0.27, 0.48, 0.31]
LATER = {1: 0.0, 3: 0.05, 9: 0.08}


def golden(trial, resource):
    return FIRST[trial] - LATER[resource]


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def study():
    return experiments.caviar(27)


@pytest.fixture(scope="module")
def curves(study):
    return experiments.curves(study)


# --- experiments -----------------------------------------------------------------------------------------------


def test_the_shoal_trains_each_reader_as_if_it_were_alone(study, curves):
    assert len(study) == 27
    assert curves.shape == (27, 9)
    for trial in (0, 14):
        config = Random(experiments.SPACE, seed=0).config(trial)
        assert study.trials[trial].config == config
        np.testing.assert_array_equal(study.losses[trial], experiments.reader()(config).loss)


def test_320_digits_are_five_batches_of_64():
    assert [len(part) for part in experiments.few_digits()[::2]] == [320, 359, 1118]


def test_losses_count_at_most_as_guessing():
    assert experiments.capped(np.array([0.1, 9.0, np.nan, np.inf])).tolist() == [0.1, *[np.log(10)] * 3]


def by_hand(rate, days, seed):
    """The diary of one model, without any population."""
    objective, state, before, found = experiments.reader(seed, every=None), None, np.inf, []
    for day in range(days):
        result = objective({"lr": rate}, state, 3 * day, 3 * day + 3)
        good = bool(result.loss < before)
        found.append((rate, float(result.loss), good))
        state, before = (result.state, result.loss) if good else (state, before)
        rate *= experiments.RAISE if good else experiments.LOWER
    return found


def test_a_diary_of_many_is_that_of_each_alone():
    found = experiments.babysit(experiments.reader(every=None), [0.02, 0.1], days=6, seeds=[3, 4])
    assert not found.kept.all()
    for k, (rate, seed) in enumerate(((0.02, 3), (0.1, 4))):
        ours = found.of(k)
        theirs = by_hand(rate, 6, seed)
        assert [day.kept for day in ours] == [kept for _, _, kept in theirs]
        np.testing.assert_allclose([day[:2] for day in ours], [day[:2] for day in theirs], rtol=1e-4)
    np.testing.assert_array_equal(found.best, np.minimum.accumulate(found.losses))


def test_left_alone_the_rate_stays_and_days_are_not_undone():
    found = experiments.babysit(
        experiments.reader(every=None), [0.1, 0.02], days=5, beta1=[0.9, 0.6], alone=True
    )
    assert found.kept.all()
    assert (found.rates == [0.1, 0.02]).all()
    whole = experiments.reader(epochs=15)({"lr": 0.02, "beta1": 0.6})
    np.testing.assert_allclose(found.losses[:, 1], [loss for _, loss in whole.curve], rtol=1e-4)


def test_a_diary_can_be_trained_again():
    losses = experiments.again(experiments.reader(every=None), [0.01, 0.01], [0, 5])
    for seed, loss in zip((0, 5), losses, strict=True):
        assert loss == pytest.approx(float(experiments.reader(seed, epochs=6)({"lr": 0.01}).loss), rel=1e-4)


def test_a_replay_is_the_search_itself(study, curves):
    for scheduler in (experiments.HALVING, ASHA(r_min=3, r_max=27, mode="promote")):
        live = run(
            experiments.reader(),
            experiments.SPACE,
            Random(experiments.SPACE, seed=0),
            scheduler,
            n=27,
        )
        found = experiments.replay(scheduler, curves)
        assert (found.trial, found.loss) == (live.best.trial, pytest.approx(live.best.loss))
        assert found.epochs == sum(one.resource - one.start for one in live.done)


def test_affordable_is_the_most_that_fits():
    for budget in (27, 81, 243, 729):
        n = experiments.affordable(budget)
        assert cost(experiments.HALVING.rungs(n)) <= budget < cost(experiments.HALVING.rungs(n + 1))
    assert experiments.affordable(2) == 0


def test_arms_share_their_draws(curves):
    found = experiments.arms(curves, 9, replays=40)
    assert found.epochs == (63, 54, 243)
    assert (found.full <= found.halving).all()
    assert (found.full <= found.random).all()
    assert (found.kept == (found.full == found.halving)).all()
    drawn = curves[np.random.default_rng(0).choice(27, 9, replace=False)]
    assert found.random[0] == drawn[:2, -1].min()
    assert found.halving[0] == experiments.replay(experiments.HALVING, drawn).loss


def test_agreement_is_that_of_scipy(curves):
    found = experiments.agreement(curves)
    top = np.argsort(curves[:, -1])[:9]
    for k in range(9):
        assert found.all[k] == pytest.approx(spearmanr(curves[:, k], curves[:, -1]).statistic)
        assert found.best[k] == pytest.approx(spearmanr(curves[top, k], curves[top, -1]).statistic)
    ties = np.array([2, 1, 2, 3, 1])
    assert experiments.ranks(ties).tolist() == [3.5, 1.5, 3.5, 5, 1.5]


def test_every_way_of_spending_has_its_budgets(study, curves):
    found = experiments.spent(study, replays=20, pandas=8)
    assert found.alone.shape == found.panda.shape == (8,)
    assert found.random.shape == found.halving.shape == (4, 20)
    np.testing.assert_array_equal(found.alone, curves[:8].min(axis=1))
    np.testing.assert_array_equal(found.random[0], found.halving[0])  # one training is one training
    assert (np.diff(found.random, axis=0) <= 0).all()


@pytest.mark.parametrize(
    ("given", "full", "advice"),
    [
        ((8, 24, 1), 192, "caviar"),
        ((4, 72, 10), 28, "in between"),
        ((1, 168, 48), 3, "panda"),
        ((2, 10, 20), 0, "nothing"),
        ((3, 0.3, 0.1), 9, "panda"),  # 0.3 / 0.1 is a little less than 3
    ],
)
def test_the_calculator_counts_whole_runs(given, full, advice):
    found = experiments.budget(*given)
    assert found.full == full
    assert found.advice.startswith(advice)


def test_the_calculator_wants_positive_numbers():
    with pytest.raises(ValueError, match="hours must be positive, got 0"):
        experiments.budget(1, 0, 1)


@pytest.mark.parametrize(
    "scheduler", [SuccessiveHalving(r_max=9), ASHA(r_max=9, mode="promote"), ASHA(r_max=9)]
)
def test_a_worker_does_one_thing_at_a_time_and_every_epoch_is_trained(scheduler):
    jobs = experiments.timeline(scheduler, golden, 12, 4, lambda trial: 1.0 + (trial % 4 == 0))
    for worker in range(4):
        mine = sorted((begin, end) for one, begin, end, _ in jobs if one == worker)
        assert all(end <= begin for (_, end), (begin, _) in pairwise(mine))
    trained = {}
    for _, begin, end, job in jobs:
        assert end - begin == (job.resource - job.start) * (2 if job.trial % 4 == 0 else 1)
        assert trained.get(job.trial, 0) == job.start
        trained[job.trial] = job.resource
    assert len(trained) == 12
    lines = experiments.drawn(jobs, 4)
    letters = sum(letter != "." for line in lines for letter in line)
    assert letters == sum(end - begin for _, begin, end, _ in jobs)
    assert experiments.busy(jobs, 4) == pytest.approx(letters / (4 * len(lines[0])))


def test_one_worker_runs_the_golden_order_of_asha():
    jobs = experiments.timeline(ASHA(r_max=9, mode="promote"), golden, 12, 1, lambda trial: 1.0)
    order = "0@1 1@1 2@1 1@3 3@1 4@1 4@3 5@1 6@1 7@1 7@3 4@9 8@1 9@1 9@3 9@9 10@1 11@1 11@3"
    assert " ".join(f"{job.trial}@{job.resource}" for *_, job in jobs) == order
    assert experiments.busy(jobs, 1) == 1


def test_how_far_trials_get_is_as_in_optuna_and_as_in_the_paper():
    theirs = [9, 9, 1, 1, 9, 1, 1, 3, 1, 9, 1, 3]
    assert experiments.reached(ASHA(r_max=9), golden, 12) == theirs
    promoted = [1, 3, 1, 1, 9, 1, 1, 3, 1, 9, 1, 3]
    assert experiments.reached(ASHA(r_max=9, mode="promote"), golden, 12) == promoted
    pytest.importorskip("optuna")
    assert experiments.optuna_reached(golden, 12) == theirs


def test_waiting_is_shorter_without_meetings(curves):
    schedulers = SuccessiveHalving(r_min=3, r_max=27), ASHA(r_min=3, r_max=27, mode="promote")
    found = experiments.waiting(schedulers, curves, replays=8)
    assert found.busy.shape == found.first.shape == found.loss.shape == (2, 8)
    assert found.first[1].mean() < found.first[0].mean()
    assert found.busy[1].mean() > found.busy[0].mean()


def test_a_population_evolves_from_the_first_configurations():
    evolved = experiments.evolve(4)
    assert len(evolved) == 4
    assert {one.resource for one in evolved.done} == set(range(3, 28, 3))
    assert evolved.done[0].config == Random(experiments.SPACE, seed=0).config(evolved.done[0].trial)


def test_changes_are_what_they_say():
    changes = experiments.changes()
    config = {"lr": 0.02}
    part, base = experiments.few_digits(), dict(epochs=12, hidden=16, optimizer="sgd")
    summed = changes["sum over the batch"](experiments.population(lr=[0.01, 0.02])).loss
    assert summed[1] == MLP(part, **base)({"lr": 64 * 0.02}).loss
    torch_form = changes["momentum 0.9 (PyTorch)"](experiments.population(lr=[0.01, 0.02])).loss
    ours = MLP(part, epochs=12, hidden=16)({"lr": 0.2, "momentum": 0.9}).loss
    assert torch_form[1] == pytest.approx(ours, rel=1e-4)
    raw = changes["pixels 0 to 16"].data
    assert raw.x_train.max() == 16
    np.testing.assert_array_equal(raw.x_test / 16, part.x_test)
    assert changes["before"](config).loss != changes["64 hidden units"](config).loss


def test_stale_rates_cost_what_the_sweep_says():
    rates = np.array([0.1, 0.5, 2.0])
    found = experiments.stale([0], rates)
    assert found.losses.shape == (8, 3)
    best = found.losses[0].argmin()
    np.testing.assert_array_equal(found.at_old, found.losses[:, best])
    np.testing.assert_array_equal(found.at_best, found.losses.min(axis=1))
    assert (found.best == rates[found.losses.argmin(axis=1)]).all()


def test_a_sweep_has_a_row_for_each_seed():
    objective = MLP(experiments.few_digits(), epochs=2, hidden=16, optimizer="sgd")
    losses = experiments.sweep(objective, np.array([0.1, 0.5]), [0, 7])
    for i, seed in enumerate((0, 7)):
        for j, lr in enumerate((0.1, 0.5)):
            assert losses[i, j] == pytest.approx(float(objective({"lr": lr, "seed": seed}).loss), rel=1e-4)


def test_what_is_lent_costs_nothing_at_home():
    rates = np.array([0.001, 0.1, 1.0])
    found = experiments.transfer(True, [0], rates)
    assert found.losses.shape == (4, 3)
    assert np.diag(found.regret).tolist() == [0] * 4
    assert (found.regret >= 0).all()
    assert found.losses.max(axis=1) == pytest.approx(np.log([10, 3, 2, 3]), abs=0.4)
    assert (experiments.transfer(False, [0], rates).losses != found.losses).any()


def test_irises_are_150_of_three_kinds():
    part = experiments.iris(0)
    assert [len(y) for y in part[1::2]] == [90, 30, 30]
    assert set(part.y_train) == {0, 1, 2}


def test_many_seeds_are_those_of_single_models():
    config = {"lr": 0.02, "beta1": 0.8}
    right, losses = experiments.many_seeds(config, range(52), epochs=2)
    assert right.shape == (52, 359 + 1118)
    for seed in (0, 51):
        alone = experiments.reader(epochs=2, every=None)(config | {"seed": seed})
        assert losses[seed] == pytest.approx(float(alone.loss), rel=1e-4)
        assert right[seed, :359].mean() == pytest.approx(float(alone.values["accuracy"]), abs=0.003)


def test_luck_is_apparent_and_merit_is_real():
    rng = np.random.default_rng(0)
    luck = rng.random((100, 1400)) < 0.9
    found = experiments.curse(luck, replays=40)
    assert (found.apparent > 1).all()
    assert (np.abs(found.real) < 0.5).all()
    merit = rng.random((100, 1400)) < np.linspace(0.5, 1, 100)[:, None]
    found = experiments.curse(merit, replays=40)
    assert (found.real > 0.7 * found.apparent).all()


def test_an_objective_that_forgets_starts_the_optimiser_anew():
    whole = experiments.reader(every=None)
    config = {"lr": 0.02, "beta1": 0.9}
    first = whole(config, None, 0, 3)
    forgot = experiments.forgetting(whole)
    assert forgot(config, None, 0, 3).loss == first.loss
    anew = whole(config, first.state._replace(memory=None), 3, 6).loss
    assert forgot(config, first.state, 3, 6).loss == anew != whole(config, first.state, 3, 6).loss


def test_few_images_judge_and_the_training_is_the_same():
    few, whole = experiments.on_few(1, 16), experiments.reader(1, every=None)
    assert len(few.data.x_val) == len(few.data.y_val) == 16
    config = {"lr": 0.02, "beta1": 0.9}
    np.testing.assert_array_equal(few(config).state.params["W1"], whole(config).state.params["W1"])


# --- figures ---------------------------------------------------------------------------------------------------


def test_diaries_mark_the_days_that_were_undone():
    rng = np.random.default_rng(0)
    kept = rng.random((6, 3)) < 0.5
    result = experiments.Diaries(rng.random((6, 3)), rng.random((6, 3)) + 0.2, kept, rng.random((6, 3)))
    axes = plt.figure().subplots(2, 1)
    figures.diaries(axes, result)
    (marked,) = [line for line in axes[0].lines if line.get_marker() == "x"]
    np.testing.assert_array_equal(marked.get_xdata(), np.flatnonzero(~kept[:, 0]) + 1)
    assert len(axes[1].lines) == 3
    assert axes[1].get_xlabel() == "day"


def test_agreement_draws_two_lines_a_seed():
    one = experiments.Agreement(np.linspace(0.8, 1, 9), np.linspace(0, 1, 9))
    ax = figures.agreement(plt.figure().subplots(), [one, one])
    assert len(ax.lines) == 4
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["all trials", "the best third"]
    assert ax.lines[0].get_xdata().tolist() == list(range(3, 28, 3))


def test_arms_are_drawn_as_shares_of_replays():
    losses = np.array([0.5, 0.3, 0.4])
    ax = figures.arms(
        plt.figure().subplots(), experiments.Arms(losses, losses, losses, losses > 0, (63, 54, 243))
    )
    np.testing.assert_allclose(ax.lines[0].get_xdata(), [0.3, 0.4, 0.5])
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [1 / 3, 2 / 3, 1])
    assert "(63)" in ax.get_legend().get_texts()[0].get_text()


def test_spent_draws_medians_and_dots():
    rng = np.random.default_rng(0)
    result = experiments.Spent(
        *(rng.random(5) + 0.2 for _ in range(2)), *(rng.random((4, 9)) + 0.2 for _ in range(2))
    )
    ax = figures.spent(plt.figure().subplots(), result, rng.random(3) + 0.2)
    assert len(ax.lines) == 5
    np.testing.assert_allclose(ax.lines[1].get_ydata(), np.median(result.halving, axis=1))
    assert [len(line.get_xdata()) for line in ax.lines[2:]] == [5, 5, 3]


def test_stale_draws_both_losses_of_every_change():
    found = experiments.Stale(
        tuple("abc"),
        np.ones((3, 2)),
        np.array([1, 2, 3.0]),
        np.array([0.3, 0.4, 0.5]),
        np.array([0.3, 0.9, 2.0]),
    )
    axes = plt.figure().subplots(1, 2)
    figures.stale(axes, found)
    dots = {line.get_label(): line.get_xdata() for line in axes[1].lines if line.get_linestyle() == "None"}
    np.testing.assert_array_equal(dots["at its own best"], found.at_best)
    np.testing.assert_array_equal(dots["at the old rate"], found.at_old)
    assert [text.get_text() for text in axes[0].get_yticklabels()] == ["a", "b", "c"]


def test_transfer_writes_every_loss_into_its_square():
    regret = np.arange(16).reshape(4, 4) / 10
    one = experiments.Transfer(np.array([1, 0.1, 0.01, 0.001]), np.ones((4, 3)), regret)
    axes = plt.figure().subplots(1, 2)
    figures.transfer(axes, {"raw": one, "standardised": one})
    assert [text.get_text() for text in axes[0].texts] == [f"{value:.2f}" for value in regret.ravel()]
    assert axes[1].get_title() == "standardised"
    assert "0.001" in axes[0].get_xticklabels()[3].get_text()


def test_curse_draws_both_gains_for_both_sizes():
    found = experiments.Curse(np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(2, 3) / 2)
    ax = figures.curse(plt.figure().subplots(), found)
    assert len(ax.lines) == 4
    np.testing.assert_array_equal(ax.lines[2].get_ydata(), [3, 4, 5])
    np.testing.assert_array_equal(ax.lines[3].get_ydata(), [1.5, 2, 2.5])
    assert ax.get_xlabel()
    assert ax.get_ylabel()


# --- checks ----------------------------------------------------------------------------------------------------


def said(check, function, capsys):
    check(function)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    return lines[0]


def refuses(*_):
    raise NotImplementedError


@pytest.mark.parametrize("check", [checks.survivors, checks.promotable, checks.direction])
@pytest.mark.parametrize("stub", [lambda *_: ..., refuses])
def test_an_unfilled_stub_is_not_attempted_yet(check, stub, capsys):
    assert said(check, stub, capsys) == "not attempted yet"


def order(losses):
    return [k for k in np.argsort(losses) if np.isfinite(losses[k])]


def fewest(losses, eta):
    return max(len(losses) // eta, 1)


SURVIVORS = [
    (lambda v, eta: order(v)[: fewest(v, eta)], "correct"),
    (lambda v, eta: np.array(order(v))[: fewest(v, eta)], "correct"),
    (lambda v, eta: order(v)[::-1][: fewest(v, eta)], "you kept the worst"),
    (lambda v, eta: order(v)[: -(-len(v) // eta)], "you rounded up"),
    (lambda v, eta: order(v)[: len(v) // eta], "nobody goes on: keep at least one"),
    (lambda v, eta: np.argsort(v)[: fewest(v, eta)], "places that nobody deserves stay empty"),
    (lambda v, eta: np.argsort(np.nan_to_num(v, nan=-9))[: fewest(v, eta)], "a trial that diverged goes on"),
    (lambda v, eta: sorted(order(v)[: fewest(v, eta)]), "the right trials in another order"),
    (lambda v, eta: v[order(v)[: fewest(v, eta)]], "you return the losses"),
    (lambda v, eta: 3, "who goes on must have shape (7,)"),
    (lambda v, eta: range(20), "who goes on must have shape (7,), got (20,)"),
    (lambda v, eta: order(v)[1 : 1 + fewest(v, eta)], "who goes on is off by"),
]


@pytest.mark.parametrize(("function", "sentence"), SURVIVORS)
def test_each_mistake_with_the_survivors_is_named(function, sentence, capsys):
    assert sentence in said(checks.survivors, function, capsys)


def promote(losses, promoted, eta, *, count=None, skip=True, worst=False):
    top = [k for k in np.argsort(losses)[: len(losses) // eta if count is None else count(len(losses), eta)]]
    free = [int(k) for k in top if not (skip and promoted[k])]
    return (free[-1] if worst else free[0]) if free else None


def best_free(losses, promoted, eta):
    free = np.flatnonzero(~promoted)
    return free[losses[free].argmin()] if len(losses) >= eta else None


PROMOTABLE = [
    (promote, "correct"),
    (lambda *a: promote(*a, skip=False), "that trial has been promoted already"),
    (best_free, "you looked for the best of the others"),
    (lambda *a: promote(*a, worst=True), "you promoted the worst of those who may go"),
    (lambda *a: promote(*a, count=lambda m, eta: -(-m // eta)), "you rounded up"),
    (lambda *a: None, "somebody may go"),
    (lambda v, went, eta: int(np.argmax(v)), "that trial is not among the best m // eta"),
    (lambda *a: 8.5, "the trial is off by"),
]


@pytest.mark.parametrize(("function", "sentence"), PROMOTABLE)
def test_each_mistake_with_the_promotion_is_named(function, sentence, capsys):
    assert sentence in said(checks.promotable, function, capsys)


def point(losses, *, mean=np.mean, bad=np.inf):
    means = np.where(np.isnan(mean(losses, axis=1)), bad, mean(losses, axis=1))
    return int(means.argmin() - 1) if means.min() < means[1] else 0


DIRECTION = [
    (point, "correct"),
    (lambda v: 0, "the smaller rate is best: -1; you say 0"),
    (lambda v: -point(v), "the smaller rate is best: -1; you say 1"),
    (lambda v: min(point(v), 0), "the larger rate is best: 1; you say 0"),
    (
        lambda v: int(np.nanmean(v, axis=1).argmin() - 1) if np.isfinite(v[2]).any() else 0,
        "one seed diverged",
    ),
    (lambda v: point(v, bad=-1) if np.isnan(v[1]).all() else point(v), "both seeds diverged at the old rate"),
    (lambda v: -1 if np.isnan(v).all() else point(v), "no rate works: stay"),
    (
        lambda v: int(np.nan_to_num(v.mean(axis=1), nan=9).argmin() - 1) if not np.isnan(v).all() else 0,
        "a draw: stay",
    ),
    (
        lambda v: point(v, mean=lambda a, axis: np.where(np.isnan(a).any(axis), np.nan, a.min(axis))),
        "one lucky seed",
    ),
    (lambda v: v, "the direction must have shape ()"),
    (lambda v: "up", "the direction must be numbers"),
]


@pytest.mark.parametrize(("function", "sentence"), DIRECTION)
def test_each_mistake_with_the_direction_is_named(function, sentence, capsys):
    assert sentence in said(checks.direction, function, capsys)


# --- the page --------------------------------------------------------------------------------------------------


def last_cell():
    """The source of the last code cell, and what the page shows below it."""
    cells = json.loads(CHAPTER.read_text(encoding="utf-8"))["cells"]
    cell = [cell for cell in cells if cell["cell_type"] == "code"][-1]
    return "".join(cell["source"]), "".join(cell["outputs"][0]["text"])


TABLE = """
    import json, os, pathlib
    pathlib.Path(os.environ["TABLE"]).write_text(json.dumps(study.table))
"""


def write(path, engine, store):
    """The last cell as a file, with only the two arguments changed, that also writes its table."""
    source, _ = last_cell()
    assert source.count('engine="local", store=None') == 1
    changed = source.replace('engine="local", store=None', f'engine="{engine}", store={store!r}')
    path.write_text(changed + TABLE, encoding="utf-8")


def start(folder, *words, table="none.json"):
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TABLE": table},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def output(process):
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


@pytest.fixture(scope="module")
def searches(tmp_path_factory):
    """The last cell in one process, as one array, and twice at once on a journal: folder, outputs, tables."""
    pytest.importorskip("optuna")
    folder = tmp_path_factory.mktemp("searches")
    write(folder / "here.py", "local", None)
    write(folder / "shoal.py", "vectorised", None)
    write(folder / "my_search.py", "optuna", "digits.journal")
    names = {"here": "here.py", "shoal": "shoal.py", "alpha": "my_search.py", "beta": "my_search.py"}
    started = {name: start(folder, file, table=f"{name}.json") for name, file in names.items()}
    printed = {name: output(one) for name, one in started.items()}
    tables = {name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in names}
    return folder, printed, tables


def test_the_last_cell_has_one_table_on_every_engine(searches):
    _, _, tables = searches
    assert [row["trial"] for row in tables["here"]] == list(range(16))
    assert tables["here"] == tables["shoal"] == tables["alpha"] == tables["beta"]


def test_the_last_cell_prints_what_the_page_shows(searches):
    _, printed, _ = searches
    assert set(printed.values()) == {last_cell()[1]}


def test_a_worker_finds_the_objective_of_the_last_cell_by_its_name(searches):
    words = "-m", "dlbook.tuning", "worker", "--storage", "digits.journal", "my_search:objective"
    assert "All 16 trials are done, 0 of them here." in output(start(searches[0], *words))


def test_both_pages_link_to_each_other():
    page = CHAPTER.read_text(encoding="utf-8")
    other = (CHAPTER.parent / "running_on_many_machines.md").read_text(encoding="utf-8")
    assert "{doc}`running_on_many_machines`" in page
    assert "{doc}`pandas_vs_caviar`" in other


def test_hyperband_counts_brackets_in_whole_numbers():
    assert len(Hyperband(r_max=243).brackets) == 6
    assert Job(0, 3).start == 0
