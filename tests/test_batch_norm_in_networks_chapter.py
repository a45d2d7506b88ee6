"""The chapter on batch norm in networks: its experiments, its figures, and what its checks say to a reader."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import require

from dlbook import data
from dlbook.batch_norm import network_checks as checks
from dlbook.batch_norm import network_experiments as experiments
from dlbook.mlp import numpy as mlp_numpy
from dlbook.optimizers import numpy as opt_numpy


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def short(monkeypatch):
    """Half an epoch of training."""
    monkeypatch.setattr(experiments, "STEPS", 8)


@pytest.fixture
def part():
    return data.Split(*(array[None] for array in data.digits(0)))


# --- experiments -----------------------------------------------------------------------------------------------


def test_a_run_no_better_than_guessing_has_failed_and_is_drawn_there():
    loss = [0.5, 2.2, np.nan, 7.0, np.inf, 2.4]
    grid = experiments.grid(loss, [0.9, 0.2, 0, 0.8, 0, 0.1], (3, 2))
    assert grid.failed.tolist() == [[False, False], [True, True], [True, True]]
    np.testing.assert_allclose(grid.loss, [[0.5, 2.2], [np.log(10)] * 2, [np.log(10)] * 2])
    assert grid.accuracy.shape == (3, 2)


def test_a_run_of_a_sweep_is_the_run_it_would_be_alone(short, monkeypatch):
    settings = [(0.1, 1.0), (0.1, 0.5), (0.3, 1.0)]
    together = experiments.sweep(settings, 2, hidden=2, batch_norm=True)
    monkeypatch.setattr(experiments, "TOGETHER", 1)
    alone = experiments.sweep(settings, 2, hidden=2, batch_norm=True)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_sweep_evaluates_with_precise_statistics(short):
    grid = experiments.sweep([(0.1, 1.0)], 1, hidden=2, batch_norm=True)
    rng, part = np.random.default_rng(0), data.digits(0)
    params = mlp_numpy.init((64, 64, 64, 10), rng, batch_norm=True)
    fit = mlp_numpy.fit(
        params,
        part.x_train,
        part.y_train,
        optimizer=opt_numpy.sgd(0.1),
        steps=8,
        batch_size=64,
        rng=rng,
        validation=(part.x_val, part.y_val),
    )
    np.testing.assert_allclose(grid.loss[:, 0], fit.history.val_loss, rtol=1e-5)
    np.testing.assert_allclose(grid.accuracy[:, 0], fit.history.val_accuracy)


def test_steps_that_grow_with_the_square_of_the_scale_make_the_scale_disappear(short):
    settings = [(0.1, scale) for scale in (0.1, 1.0, 10.0)]
    grid = experiments.sweep(settings, 1, hidden=2, batch_norm=True, compensate=True)
    np.testing.assert_allclose(grid.loss[:, 0], grid.loss[1, 0], atol=0.01)
    without = experiments.sweep(settings, 1, hidden=2, batch_norm=True)
    assert without.loss[2] > without.loss[1] + 0.2


def test_learning_rates_and_optimisers_have_an_arm_each(short):
    arms = experiments.learning_rates([0.1, 0.3], 2, hidden=1)
    assert {name: grid.loss.shape for name, grid in arms.items()} == {"plain": (2, 2), "batch norm": (2, 2)}
    assert (arms["plain"].loss != arms["batch norm"].loss).all()
    by_name = experiments.optimisers({"sgd": [0.1], "adam": [0.01]}, 2, hidden=1)
    narrow = experiments.sweep([(0.1, 1.0)], 2, hidden=1, width=experiments.WIDTH, batch_norm=False)
    np.testing.assert_array_equal(by_name["sgd"]["plain"].loss, narrow.loss)
    assert by_name["adam"]["batch norm"].accuracy.shape == (1, 2)


def test_several_populations_are_one(short, monkeypatch):
    settings = [(0.1, 1.0), (0.3, 1.0), (1.0, 1.0)]
    whole = experiments.sweep(settings, 3, hidden=1, batch_norm=True)
    monkeypatch.setattr(experiments, "TOGETHER", 2)
    for values, expected in zip(
        experiments.sweep(settings, 3, hidden=1, batch_norm=True), whole, strict=True
    ):
        np.testing.assert_array_equal(values, expected)


def test_the_plain_network_gets_the_best_of_several_rates_at_every_scale(short):
    starts = experiments.initialisations([0.3, 1.0], [0.001, 0.1, 0.3], 2, hidden=1)
    assert all(grid.loss.shape == (2, 2) for grid in starts)
    assert (starts.tuned.accuracy.mean(axis=1) >= starts.plain.accuracy.mean(axis=1)).all()
    tried = experiments.sweep([(0.3, 1.0)], 2, hidden=1, batch_norm=False)
    assert starts.tuned.accuracy[1].mean() >= tried.accuracy.mean()


@pytest.mark.parametrize("after", [False, True])
def test_gradients_with_batch_norm_on_either_side_are_those_of_autograd(after, rng):
    require("torch")
    import torch

    params = experiments.with_biases(
        mlp_numpy.init((5, 4, 3, 2), rng, models=2, batch_norm=True, dtype="float64")
    )
    params = {name: array + 0.1 * rng.standard_normal(array.shape) for name, array in params.items()}
    x, y = rng.standard_normal((2, 7, 5)), rng.integers(0, 2, (2, 7))
    loss, grads = experiments.gradients_placed(params, x, y, after=after)

    leaves = {name: torch.tensor(array, requires_grad=True) for name, array in params.items()}
    h = torch.tensor(x)
    for i in (1, 2):
        z = h @ leaves[f"W{i}"] + leaves[f"b{i}"]
        u = torch.relu(z) if after else z
        u = (u - u.mean(1, keepdim=True)) / torch.sqrt(u.var(1, correction=0, keepdim=True) + 1e-5)
        u = leaves[f"gamma{i}"] * u + leaves[f"beta{i}"]
        h = u if after else torch.relu(u)
    logits = h @ leaves["W3"] + leaves["b3"]
    expected = [torch.nn.functional.cross_entropy(z, t) for z, t in zip(logits, torch.tensor(y), strict=True)]
    sum(expected).backward()
    np.testing.assert_allclose(loss, [one.item() for one in expected])
    for name, leaf in leaves.items():
        np.testing.assert_allclose(grads[name], leaf.grad.numpy(), atol=1e-12, err_msg=name)


def test_with_statistics_the_network_looks_at_one_row_at_a_time(rng):
    params = experiments.with_biases(mlp_numpy.init((5, 4, 2), rng, batch_norm=True))
    x = rng.standard_normal((9, 5)).astype("float32")
    _, seen = experiments.forward_placed(params, x, after=True)
    statistics = [layer.statistics for layer in seen[:-1]]
    together, _ = experiments.forward_placed(params, x, after=True, statistics=statistics)
    alone = [experiments.forward_placed(params, row[None], after=True, statistics=statistics)[0] for row in x]
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-5, atol=1e-6)


def test_before_the_relu_is_the_networks_of_the_package(short):
    placed = experiments.placements([0.1, 0.3], 2, hidden=2)
    settings = [(0.1, 1.0), (0.3, 1.0)]
    sweep = experiments.sweep(settings, 2, hidden=2, width=experiments.WIDTH, batch_norm=True)
    np.testing.assert_allclose(placed["before"].loss, sweep.loss, rtol=1e-3)
    assert (np.abs(placed["after"].loss - placed["before"].loss) > 1e-3).all()


def test_the_last_loss_of_a_diverged_network_is_not_a_number_and_never_right(part):
    params = experiments.with_biases(mlp_numpy.init((64, 8, 10), [np.random.default_rng(0)], batch_norm=True))
    loss, accuracy = experiments.evaluate_placed({**params, "b2": params["b2"] * np.nan}, part)
    assert np.isnan(loss).all()
    assert accuracy == 0


def test_dead_biases_walk_with_adam_in_float32_only():
    dead = experiments.dead_bias({"sgd": opt_numpy.sgd(0.3), "adam": opt_numpy.adam(0.01)}, 2, steps=5)
    assert dead.walk["adam", "float32"].shape == (5, 2)
    assert (dead.walk["adam", "float32"][0] > 0.005).all()
    assert dead.walk["adam", "float64"].max() < 1e-8
    assert dead.walk["sgd", "float32"].max() < 1e-6
    assert max(apart.max() for (_, dtype), apart in dead.apart.items() if dtype == "float64") < 1e-12
    assert max(apart.max() for apart in dead.apart.values()) < 1e-3


# --- in the frameworks -----------------------------------------------------------------------------------------


@pytest.fixture
def networks():
    require("torch"), require("tensorflow")
    from dlbook.batch_norm import network_frameworks

    return network_frameworks


@pytest.fixture(scope="module")
def ports():
    require("torch"), require("tensorflow")
    from dlbook.batch_norm import network_frameworks

    return network_frameworks.ports()


def test_matched_ports_agree_and_each_mistake_shows_where_the_page_says(ports):
    shown = {name: port.training > 1e-5 for name, port in ports.items()}
    first = {name: int(s.argmax()) if s.any() else None for name, s in shown.items()}
    assert first == {
        "Keras, all matched": None,
        "PyTorch, all matched": None,
        "kernel not transposed": 0,
        "ε left at 0.001": 0,
        "learning rate not converted": 1,
        "decay taken for momentum": None,
        "variance not converted": None,
    }
    assert [name for name, port in ports.items() if port.test > 1e-5] == list(ports)[2:]


def test_batches_of_a_port_are_all_of_one_size(networks):
    assert {len(rows) for rows in networks.port_batches()} == {49}
    assert len(networks.port_batches()) == 20


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_convolutional_network_is_the_same_in_both_frameworks(networks, batch_norm, rng):
    params, x = networks.conv_weights(rng), rng.random((6, 64)).astype("float32")
    in_keras = networks.keras_convnet(params, batch_norm=batch_norm)
    in_torch = networks.torch_convnet(params, batch_norm=batch_norm)
    rows, y = [np.arange(6)] * 2, rng.integers(0, 10, 6)
    one = networks.keras_train(in_keras, networks.images(x, channels="last"), y, rows)
    other = networks.torch_train(in_torch, networks.images(x), y, rows)
    np.testing.assert_allclose(one, other, rtol=1e-4)
    logits = networks.keras_logits(in_keras, networks.images(x, channels="last"))
    if batch_norm:  # the stored variances differ by m / (m - 1), so compare before they are used
        assert logits.shape == (6, 10)
    else:
        np.testing.assert_allclose(logits, networks.torch_logits(in_torch, networks.images(x)), atol=1e-4)


def test_logits_are_those_of_test_time_and_the_mode_stays(networks, rng):
    import torch

    net = torch.nn.Sequential(torch.nn.BatchNorm1d(3))
    x = 5 + rng.standard_normal((4, 3)).astype("float32")
    np.testing.assert_allclose(networks.torch_logits(net, x), x, rtol=1e-4)
    assert net.training
    net.eval()
    networks.torch_logits(net, x)
    assert not net.training


def test_convolutions_and_wirings_have_a_number_for_every_seed(networks, monkeypatch):
    monkeypatch.setattr(networks, "STEPS", 18)
    grids = networks.convolutions([0.1], 2, epochs=1)
    assert {name: grid.accuracy.shape for name, grid in grids.items()} == {
        "plain": (1, 2),
        "batch norm": (1, 2),
    }
    wirings = networks.wirings(1)
    assert list(wirings) == list(networks.WIRINGS)
    assert all(result.test.shape == (1,) and 0 < result.accuracy < 1 for result in wirings.values())


def test_nan_is_never_right(networks):
    import torch

    net = torch.nn.Linear(64, 10)
    torch.nn.init.constant_(net.bias, float("nan"))
    _, accuracy = networks.score(net, np.zeros((3, 64), "float32"), np.zeros(3, int))
    assert accuracy == 0


# --- figures ---------------------------------------------------------------------------------------------------


@pytest.fixture
def figures():
    from dlbook.batch_norm import network_figures

    return network_figures


@pytest.fixture
def some_grid(rng):
    return experiments.grid(rng.random((3, 5)), rng.random((3, 5)), (3, 5))


def labelled(ax):
    return bool(ax.get_xlabel() and ax.get_ylabel())


def test_accuracies_and_losses_draw_every_seed(figures, some_grid):
    grids = {"plain": some_grid, "batch norm": some_grid}
    ax = figures.accuracies(plt.figure().subplots(), [0.1, 1, 10], grids)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.median(some_grid.accuracy, axis=1))
    np.testing.assert_allclose(ax.lines[1].get_ydata(), some_grid.accuracy.ravel())
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(grids)
    assert labelled(ax)
    ax = figures.losses(plt.figure().subplots(), [0.1, 1, 10], grids, title="sgd")
    np.testing.assert_allclose(ax.lines[1].get_ydata(), some_grid.loss.ravel())
    assert (ax.get_title(), ax.get_yscale()) == ("sgd", "log")


def test_starts_draws_four_arms(figures, some_grid):
    ax = figures.starts(plt.figure().subplots(), [0.1, 1, 10], experiments.Starts(*[some_grid] * 4))
    assert len(ax.get_legend().get_texts()) == 4
    assert labelled(ax)


def test_walk_draws_a_line_for_every_seed_and_names_each_training_once(figures, rng):
    names = [(name, dtype) for name in ("SGD", "Adam") for dtype in ("float32", "float64")]
    ax = figures.walk(
        plt.figure().subplots(), experiments.DeadBias({n: rng.random((6, 3)) for n in names}, {})
    )
    assert len(ax.lines) == 12
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [", ".join(n) for n in names]
    assert labelled(ax)


def test_differences_draws_every_pair_and_their_mean(figures, rng):
    difference = rng.standard_normal((3, 10)) / 10
    ax = figures.differences(plt.figure().subplots(), [0.1, 1, 10], difference)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), difference.ravel())
    np.testing.assert_allclose(ax.containers[0].lines[0].get_ydata(), difference.mean(axis=1))
    assert labelled(ax)


def test_ported_draws_every_port_and_zero_at_the_floor(figures, ports):
    axes = plt.figure().subplots(1, 2)
    figures.ported(axes, ports)
    assert len(axes[0].lines) == len(axes[1].lines) == len(ports)
    assert min(line.get_ydata().min() for line in axes[0].lines) >= 1e-8
    assert [label.get_text() for label in axes[1].get_yticklabels()] == list(ports)


# --- checks ----------------------------------------------------------------------------------------------------


def said(check, function, capsys) -> str:
    check(function)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    return lines[0]


def refuses(*_):
    raise NotImplementedError


@pytest.mark.parametrize("check", [checks.groups, checks.only, checks.torch_variance])
@pytest.mark.parametrize("stub", [lambda *_: None, refuses, lambda *_: ...])
def test_an_unfilled_stub_is_not_attempted_yet(check, stub, capsys):
    assert said(check, stub, capsys) == "not attempted yet"


def two(decays, *, second=0.0, drop=None):
    def groups(named, weight_decay):
        named = [(name, p) for name, p in named if name != drop]
        yes = [p for name, p in named if decays(name, p)]
        no = [p for name, p in named if not decays(name, p)]
        rest = {} if second is None else {"weight_decay": second}
        return [{"params": yes, "weight_decay": weight_decay}, {"params": no, **rest}]

    return groups


GROUPS = [
    (two(lambda name, p: p.ndim > 1), "correct"),
    (two(lambda name, p: p.ndim == 1), "your groups are swapped"),
    (two(lambda name, p: name.endswith("weight")), "gamma is decayed"),
    (two(lambda name, p: p.ndim == 2), "the convolution's kernel is not decayed"),
    (two(lambda name, p: True), "everything is decayed"),
    (two(lambda name, p: False), "nothing is decayed"),
    (two(lambda name, p: name == "0.weight"), "what decays in yours: 0.weight"),
    (two(lambda name, p: p.ndim > 1, second=None), "a group has no weight_decay"),
    (two(lambda name, p: p.ndim > 1, drop="8.bias"), "8.bias is in no group"),
    (
        lambda named, d: [{"params": [p for _, p in named], "weight_decay": d}] * 2,
        "a parameter is in both groups",
    ),
    (lambda named, d: [{"params": named, "weight_decay": d}], "without their names"),
    (lambda named, d: 5, "return a list of dictionaries"),
]


@pytest.mark.parametrize(("function", "sentence"), GROUPS)
def test_each_mistake_with_the_groups_is_named(function, sentence, capsys):
    assert sentence in said(checks.groups, function, capsys)


def only(params, keep, *, zeros=lambda beta: np.zeros_like(beta), keeps=lambda i, keep: i in keep):
    result = {}
    for name, array in params.items():
        i = int(name[-1])
        if name.startswith("beta") and not keeps(i, keep):
            result[f"b{i}"] = zeros(array)
        elif not name.startswith("gamma") or keeps(i, keep):
            result[name] = array
    return result


def without(*names):
    return lambda params, keep: {n: a for n, a in only(params, keep).items() if n not in names}


def in_place(params, keep):
    for i in (1, 3):
        del params[f"gamma{i}"]
        params[f"b{i}"] = 0 * params.pop(f"beta{i}")
    return params


ONLY = [
    (only, "correct"),
    (lambda p, keep: {**p, "b1": 0 * p["beta1"]}, "layer 1 has both a bias and a gamma"),
    (lambda p, keep: only(p, keep, keeps=lambda i, keep: i not in keep), "the wrong way round"),
    (lambda p, keep: only(p, ()), "the wrong way round"),
    (lambda p, keep: dict(p), "layer 1 is still normalised"),
    (without("b1"), "layer 1 has neither batch norm nor a bias"),
    (without("b4"), "the last layer has lost its bias"),
    (without("W2"), "the names must be W1"),
    (
        lambda p, keep: only(p, keep, zeros=lambda beta: np.zeros(beta.shape[-1])),
        "b1 must have shape (2, 1, 6)",
    ),
    (lambda p, keep: only(p, keep, zeros=lambda beta: beta + 1), "b1 is off by up to 1"),
    (lambda p, keep: {**only(p, keep), "W1": 2 * p["W1"]}, "the other parameters must stay as they are"),
    (in_place, "you changed the dictionary you were given"),
    (lambda p, keep: list(p), "return a dictionary of parameters, got list"),
]


@pytest.mark.parametrize(("function", "sentence"), ONLY)
def test_each_mistake_with_some_of_the_layers_is_named(function, sentence, capsys):
    assert sentence in said(checks.only, function, capsys)


def stored(var, m, decay, steps):
    return decay**steps + (var - decay**steps) * m / (m - 1)


VARIANCE = [
    (stored, "correct"),
    (lambda var, m, decay, steps: var, "that is NumPy's own"),
    (lambda var, m, decay, steps: var * m / (m - 1), "the 1 that the average started from is multiplied too"),
    (
        lambda var, m, decay, steps: decay**steps + (var - decay**steps) * (m - 1) / m,
        "upside down: dividing by m - 1",
    ),
    (lambda var, m, decay, steps: var * (m - 1) / m, "upside down, and the 1"),
    (lambda var, m, decay, steps: stored(var, m, decay, 1), "the weight decay ** steps, not decay"),
    (lambda var, m, decay, steps: stored(var, m, 1 - decay, steps), "you used 1 - decay"),
    (lambda var, m, decay, steps: (var - decay**steps) * m / (m - 1), "the start must come back"),
    (lambda var, m, decay, steps: stored(var, m, decay, 0), "the start keeps its share"),
    (
        lambda var, m, decay, steps: decay**steps + (var - decay**steps) * (m / (m - 1)) ** steps,
        "grows with the number of steps",
    ),
    (lambda var, m, decay, steps: stored(var, m, decay, steps) + 1, "the variance is off by up to 1"),
]


@pytest.mark.parametrize(("function", "sentence"), VARIANCE)
def test_each_mistake_with_the_stored_variance_is_named(function, sentence, capsys):
    assert sentence in said(checks.torch_variance, function, capsys)
