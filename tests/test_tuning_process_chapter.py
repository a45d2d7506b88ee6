"""The chapter on the tuning process: its experiments on a small scale, its figures, and its checks."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from dlbook import data
from dlbook.tuning import MLP, CoarseToFine, Done, Linear, Log, Population, Random, Space, Study
from dlbook.tuning import process_checks as checks
from dlbook.tuning import process_experiments as experiments
from dlbook.tuning import process_figures as figures

BOWL = np.add.outer(np.linspace(-1, 1, 9) ** 2, np.linspace(-1, 1, 9) ** 2)
VALLEY = np.add.outer(np.linspace(-1, 1, 9) ** 2, np.zeros(9))


@pytest.fixture(scope="module")
def drawn():
    return experiments.all_designs(replays=150)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


# --- experiments -----------------------------------------------------------------------------------------------


def test_a_lattice_has_its_ends_and_the_last_axis_fastest():
    lattice = experiments.Lattice(Space(lr=Log(1e-4, 1), b=Linear(0, 1)), (3, 2))
    assert [lattice.point(i) for i in range(3)] == [(0, 0), (0, 1), (0.5, 0)]
    assert lattice.config(5) == {"lr": 1.0, "b": 1.0}


def test_a_surface_holds_the_losses_of_the_trials_and_guessing_for_the_bad():
    losses = experiments.surface(experiments.ADAM, (3, 2), seeds=1, epochs=1)
    assert losses.shape == (3, 2)
    alone = MLP(data.digits(0), epochs=1)({"lr": 0.01, "eps": 1e-4}).loss
    assert losses[1, 1] == pytest.approx(alone, rel=1e-5)
    assert losses.max() <= experiments.LOG_TEN
    twice = experiments.surface(experiments.ADAM, (3, 2), seeds=2, epochs=1)
    assert twice.shape == (3, 2)
    assert (twice[1] != losses[1]).all()


def test_pytorchs_form_divides_the_rate():
    objective = experiments.InPyTorchsForm(MLP(data.digits(0), epochs=1))
    config = Population(
        lr=np.array([0.05, 0.1]).reshape(2, 1, 1), momentum=np.array([0.9, 0.5]).reshape(2, 1, 1)
    )
    config.models = 2
    theirs = objective(config).loss
    for k, (lr, momentum) in enumerate(((0.5, 0.9), (0.2, 0.5))):
        ours = MLP(data.digits(0), epochs=1)({"lr": lr, "momentum": momentum}).loss
        assert theirs[k] == pytest.approx(ours, rel=1e-5)
    assert config["lr"].ravel().tolist() == [0.05, 0.1]
    losses = experiments.surface(experiments.PYTORCH, (2, 2), seeds=1, epochs=1, pytorch=True)
    assert losses.shape == (2, 2)


def test_diverged_and_hopeless_losses_are_those_of_guessing():
    capped = experiments.capped(np.array([0.1, 9.0, np.nan, np.inf]))
    np.testing.assert_allclose(capped, [0.1, *[np.log(10)] * 3])


def test_looking_up_is_exact_on_the_nodes_and_linear_between():
    losses = np.arange(12.0).reshape(4, 3) ** 2
    nodes = np.stack(np.meshgrid([0, 1 / 3, 2 / 3, 1], [0, 0.5, 1], indexing="ij"), axis=-1)
    np.testing.assert_allclose(experiments.look_up(losses, nodes), losses)
    assert experiments.look_up(losses, np.array([0.5, 0.25])) == pytest.approx(losses[1:3, :2].mean())
    np.testing.assert_allclose(experiments.look_up(losses, np.array([[-1.0, 2.0]])), losses[0, 2])


def test_designs_are_the_points_of_the_samplers(drawn):
    assert {name: list(sizes) for name, sizes in drawn.items()} == {
        name: list(experiments.TRIALS) for name in experiments.SAMPLERS
    }
    assert all(points.shape == (150, n, 2) for sizes in drawn.values() for n, points in sizes.items())
    assert tuple(drawn["random"][4][3, 2]) == Random(experiments.UNIT, seed=3).point(2)
    grid = drawn["grid"][9][0]
    assert [len(np.unique(axis)) for axis in grid.T] == [3, 3]
    np.testing.assert_array_equal(drawn["Halton"][4], drawn["Halton"][64][:, :4])


def test_random_is_nearer_where_one_axis_matters_and_grids_where_both_do(drawn):
    result = experiments.geometry(drawn)
    assert result.one.shape == result.two.shape == (3, 5)
    assert (result.one[1, 1:] < result.one[0, 1:]).all()
    assert (result.two[0] < result.two[1]).all()
    assert (result.one[2] < result.one[1]).all()
    assert (result.two[2] < result.two[1]).all()
    np.testing.assert_allclose(result.one[1], 1 / (2 * (np.array(experiments.TRIALS) + 1)), rtol=0.5)


def test_best_of_is_the_smallest_loss_of_each_search(drawn):
    found = experiments.best_of(VALLEY, drawn)
    assert found.shape == (3, 5, 150)
    points = drawn["random"][9][7]
    assert found[1, 1, 7] == experiments.look_up(VALLEY, points).min()
    assert experiments.wins(found[1, 3], found[0, 3]) > 0.5


def test_a_draw_is_half_a_win():
    assert experiments.wins(np.array([1, 2, 3, 4]), np.array([2, 2, 1, 9])) == 0.625


def test_zooming_in_is_coarse_to_fine_of_the_package():
    n, space = 12, experiments.UNIT
    points = experiments.designs("random", n, 3)
    result = experiments.zoom(BOWL, points)
    for seed in range(3):
        sampler, losses = CoarseToFine(Random(space, seed=seed), n // 2), {}
        for trial in range(n):
            losses[trial] = float(experiments.look_up(BOWL, np.array(sampler.point(trial, losses))))
        assert result.fine[seed] == pytest.approx(min(losses.values()))
        assert result.flat[seed] == experiments.look_up(BOWL, points[seed]).min()


def test_with_noise_the_choice_is_worse_and_judged_without_it():
    points = experiments.designs("random", 20, 200)
    clean, noisy = (experiments.zoom(BOWL, points, noise=noise) for noise in (0, 0.5))
    assert (noisy.flat >= clean.flat).all()
    assert noisy.flat.mean() > clean.flat.mean() + 0.02
    assert noisy.fine.min() >= 0
    by_trials, by_side = experiments.zooms(BOWL, experiments.designs("random", 64, 20))
    assert len(by_trials) == len(experiments.TRIALS_TO_ZOOM)
    assert len(by_side) == len(experiments.SIDES)


def test_a_study_of_the_knobs_and_its_shares():
    study = experiments.knobs(experiments.KNOBS, 16, epochs=1)
    assert len(study) == 16
    result = experiments.shares(study_of(lambda lr, b: np.log10(lr) ** 2, 64), halves=3, trees=20)
    assert result.names == ("lr", "b")
    assert result.all[0] > 0.8 > 0.1 > result.all[1]
    assert result.halves.shape == (3, 2)
    assert result.fit > 0.5


def study_of(function, n):
    space = Space(lr=Log(1e-2, 100), b=Linear(0, 1))
    configs = [Random(space, seed=0).config(i) for i in range(n)]
    return Study([Done(i, config, float(function(**config))) for i, config in enumerate(configs)], space)


def test_rates_are_searched_within_the_range():
    study = experiments.rates(1e-2, 1, 4)
    assert len(study) == 4
    assert all(1e-2 <= one.config["lr"] <= 1 for one in study.trials.values())


def test_random_searches_hit_the_best_twentieth_as_often_as_the_formula_says(drawn):
    for losses in (BOWL, VALLEY):
        share = experiments.hits(losses, drawn)
        np.testing.assert_allclose(share[1], 1 - 0.95 ** np.array(experiments.TRIALS), atol=0.12)
    assert experiments.hits(VALLEY, drawn)[0, -1] < 0.7


def test_trials_needed_are_those_of_the_table():
    table = {0.9: (230, 45, 22, 11), 0.95: (299, 59, 29, 14), 0.99: (459, 90, 44, 21)}
    for chance, row in table.items():
        assert tuple(experiments.trials_needed(chance, top) for top in (0.01, 0.05, 0.1, 0.2)) == row


def test_optuna_searches_the_square_and_only_gets_better():
    pytest.importorskip("optuna")
    drawn = experiments.all_designs((16,), 5)
    result = experiments.adaptive(BOWL, drawn, 8, seeds=2)
    assert result.random.shape == (5, 16)
    assert result.halton.shape == (5, 8)
    assert result.tpe.shape == (2, 8)
    first = experiments.look_up(BOWL, drawn["random"][16])
    np.testing.assert_array_equal(result.random[:, -1], first.min(axis=1))
    assert all((np.diff(one, axis=1) <= 0).all() for one in result)


# --- figures ---------------------------------------------------------------------------------------------------


def labelled(ax):
    return bool(ax.get_xlabel() and ax.get_ylabel())


def test_geometry_draws_three_samplers_in_two_panels():
    axes = plt.figure().subplots(1, 2)
    distances = np.linspace(0.1, 0.01, 15).reshape(3, 5)
    figures.geometry(axes, experiments.Geometry(distances, 2 * distances))
    assert [line.get_label() for line in axes[0].lines] == list(experiments.SAMPLERS)
    np.testing.assert_allclose(axes[1].lines[2].get_ydata(), 2 * distances[2])
    assert labelled(axes[0])


def test_surfaces_draw_both_searches_and_one_scale():
    figure = plt.figure()
    axes = figure.subplots(1, 2)
    spaces = experiments.ADAM, experiments.MOMENTUM
    grid, random = np.full((4, 2), 0.5), np.full((4, 2), 0.2)
    figures.surfaces(axes, (BOWL, VALLEY), spaces, grid, random)
    assert [line.get_label() for line in axes[1].lines] == ["grid", "random"]
    assert [ax.get_xlabel() for ax in axes] == ["lr", "lr"]
    assert [ax.get_ylabel() for ax in axes] == ["eps", "momentum"]
    assert len(figure.axes) == 3


def test_best_of_draws_means_and_the_middle_of_the_replays():
    found = np.random.default_rng(0).uniform(0.1, 1, (3, 5, 40))
    ax = figures.best_of(plt.figure().subplots(), found)
    np.testing.assert_allclose(ax.lines[1].get_ydata(), found[1].mean(axis=-1))
    assert len(ax.collections) == 3
    assert labelled(ax)


def test_importance_draws_bars_and_every_half():
    axes = plt.figure().subplots(1, 2)
    result = experiments.Shares(("a", "b"), np.array([0.7, 0.1]), np.full((4, 2), 0.3), 0.9)
    figures.importance(axes, {"wide": result, "narrow": result})
    assert [bar.get_width() for bar in axes[0].patches] == [0.7, 0.1]
    assert [len(line.get_xdata()) for line in axes[1].lines] == [4, 4]
    assert axes[0].get_ylim()[0] > axes[0].get_ylim()[1]
    assert [ax.get_title() for ax in axes] == ["wide", "narrow"]


def test_zoom_draws_the_mean_change_of_each_surface():
    axes = plt.figure().subplots(1, 2)
    kinds = experiments.zooms(BOWL, experiments.designs("random", 64, 20))
    figures.zoom(axes, {"bowl": kinds})
    change = [np.mean(one.fine - one.flat) for one in kinds[1]]
    drawn = np.asarray(axes[1].containers[0].lines[0].get_ydata(), float)
    np.testing.assert_allclose(drawn, change)
    assert labelled(axes[0])
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == ["bowl"]


def test_adequate_draws_the_formula_and_every_share():
    rows = np.linspace(0.1, 1, 15).reshape(3, 5)
    ax = figures.adequate(plt.figure().subplots(), {"one": rows, "two": rows / 2})
    assert ax.lines[0].get_ydata()[58] == pytest.approx(1 - 0.95**59)
    np.testing.assert_allclose(ax.lines[4].get_ydata(), rows[0] / 2)
    assert labelled(ax)


def test_adaptive_draws_means_and_every_run_of_optuna():
    random = np.linspace(2, 0.2, 64)[None].repeat(3, axis=0)
    other = np.linspace(2, 0.3, 32)[None].repeat(4, axis=0)
    ax = figures.adaptive(plt.figure().subplots(), experiments.Adaptive(random, other, other))
    assert len(ax.lines) == 4 + 4
    np.testing.assert_allclose(ax.lines[4].get_ydata(), random[0, :32])
    np.testing.assert_allclose(ax.lines[5].get_ydata(), random[0, 1::2])
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


@pytest.mark.parametrize("check", [checks.trials, checks.box, checks.isolate])
@pytest.mark.parametrize("stub", [unfilled, refuses, lambda *_: ...])
def test_an_unfilled_stub_is_not_attempted_yet(check, stub, capsys):
    assert said(check, stub, capsys) == "not attempted yet"


def exact(chance, top):
    return np.log(1 - chance) / np.log(1 - top)


TRIALS = [
    (experiments.trials_needed, "correct"),
    (lambda p, q: np.ceil(exact(p, q) - 1e-9), "correct"),
    (exact, "you did not round up"),
    (lambda p, q: exact(p, q) // 1, "you rounded down"),
    (lambda p, q: round(exact(p, q)), "you rounded down, or to the nearest"),
    (lambda p, q: 1 / q, "how long one waits on average"),
    (lambda p, q: p / q, "you added up the chances"),
    (lambda p, q: np.ceil(p / q - 1e-9), "you added up the chances"),
    (lambda p, q: np.ceil(1 / exact(p, q)), "you swapped the two"),
    (lambda p, q: np.ceil(np.log(p) / np.log(q)), "use 1 - chance and 1 - top"),
    (lambda p, q: 60, "the number of trials is off by"),
]


@pytest.mark.parametrize(("function", "sentence"), TRIALS)
def test_each_mistake_with_the_number_of_trials_is_named(function, sentence, capsys):
    assert sentence in said(checks.trials, function, capsys)


def corner(points, losses, keep, shrink, *, side=0.5, high=None, low=0.0, order=np.argsort):
    centre = points[order(losses)[:keep]].mean(axis=0)
    return np.clip(centre - side * shrink, low, 1 - shrink if high is None else high)


BOX = [
    (corner, "correct"),
    (lambda *a: list(corner(*a)), "correct"),
    (lambda *a: corner(*a, low=-9, high=9), "the box sticks out of the cube"),
    (lambda *a: corner(*a, high=1), "at the high end the box sticks out"),
    (lambda *a: corner(*a, side=0, high=1), "that is the centre of the box"),
    (lambda *a: corner(*a, side=0), "that is the centre of the box"),
    (lambda *a: corner(*a, side=1), "shrink is the whole side"),
    (lambda *a: corner(*a, order=lambda v: np.argsort(-v)), "you kept the worst"),
    (lambda p, v, k, s: corner(p, v, 1, s), "the best trial alone"),
    (lambda p, v, k, s: corner(p, v, len(p), s), "on all trials"),
    (lambda *a: corner(*a, order=lambda v: np.argsort(np.nan_to_num(v, nan=-1))), "counts as good"),
    (
        lambda p, v, k, s: corner(p, v, k, s) * (np.nan if np.isnan(v).any() else 1),
        "NaN losses have crept into the corner",
    ),
    (lambda p, v, k, s: corner(p, v, k, s)[:2], "the low corner must have shape (3,), got (2,)"),
    (lambda p, v, k, s: corner(p, v, k, s) / 2, "the low corner is off by"),
]


@pytest.mark.parametrize(("function", "sentence"), BOX)
def test_each_mistake_with_the_box_is_named(function, sentence, capsys):
    assert sentence in said(checks.box, function, capsys)


def parts(function, values, losses):
    return {int(value): function(losses[values == value]) for value in np.unique(values)}


def fit(function):
    def one(losses):
        losses = losses[~np.isnan(losses)]
        return function(losses) if losses.size else np.nan

    return lambda values, losses: parts(one, values, losses)


ISOLATE = [
    (fit(np.min), "correct"),
    (fit(np.mean), "that is the mean over the other knobs"),
    (fit(np.median), "that is the median over the other knobs"),
    (fit(np.max), "that is the largest loss"),
    (lambda v, x: parts(lambda part: part[-1], v, x), "that is the last loss"),
    (lambda v, x: parts(np.min, v, x), "one diverged trial makes its whole part NaN"),
    (lambda v, x: {k: y for k, y in fit(np.min)(v, x).items() if y == y}, "16 has only diverged trials"),
    (lambda v, x: {0: 1.0}, "the keys must be the values that were tried"),
    (lambda v, x: fit(lambda part: 2 * part.min())(v, x), "the losses is off by"),
    (lambda v, x: x.min(), "return a dictionary from value to loss"),
]


@pytest.mark.parametrize(("function", "sentence"), ISOLATE)
def test_each_mistake_with_the_isolation_is_named(function, sentence, capsys):
    assert sentence in said(checks.isolate, function, capsys)
