"""The chapter on test-time batch norm: its experiments, its figures, its server, and what its checks say."""

import matplotlib as mpl

mpl.use("Agg")

import ast
import runpy
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import require

from dlbook.batch_norm import Running, serve
from dlbook.batch_norm import numpy as bn_numpy
from dlbook.batch_norm import test_time_checks as checks
from dlbook.batch_norm import test_time_experiments as experiments
from dlbook.batch_norm import test_time_figures as figures
from dlbook.mlp import numpy as mlp_numpy
from dlbook.optimizers import numpy as opt_numpy


@pytest.fixture(scope="module")
def readers():
    return experiments.train(seeds=2, at=(3, 20))


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


# --- training, and ways to average -----------------------------------------------------------------------------


def test_train_takes_the_steps_of_fit(readers):
    """The same networks as `fit` trains, though nobody keeps a running average."""
    rngs = [np.random.default_rng(seed) for seed in range(2)]
    params = mlp_numpy.init(experiments.SIZES, rngs, batch_norm=True)
    fit = mlp_numpy.fit(
        params,
        readers.split.x_train,
        readers.split.y_train,
        optimizer=opt_numpy.sgd(experiments.RATE),
        steps=20,
        batch_size=experiments.BATCH,
        rng=rngs,
        running=mlp_numpy.init_running(params),
        decay=0.9,
        eps=experiments.EPS,
    )
    for name, value in fit.params.items():
        np.testing.assert_array_equal(readers.params[20][name], value)
    for i, running in experiments.estimate(readers.batches, experiments.running_average(20, 0.9)).items():
        np.testing.assert_allclose(running.mean, fit.running[i].mean, atol=1e-5)
        np.testing.assert_allclose(running.var, fit.running[i].var, rtol=1e-5)


def test_an_epoch_has_as_many_steps_as_the_chapter_says(readers):
    assert np.ceil(readers.split.x_train.shape[1] / experiments.BATCH) == experiments.EPOCH
    assert readers.batches[1].mean.shape == (20, 2, 1, 64)


@pytest.mark.parametrize("way", experiments.WAYS.values(), ids=experiments.WAYS)
@pytest.mark.parametrize("t", [1, 5, 40])
def test_the_weights_of_a_way_sum_to_one_or_leave_the_rest_to_the_start(way, t):
    weights = way(t)
    assert weights.shape == (t,)
    assert (weights >= 0).all()
    assert weights.sum() <= 1 + 1e-12


def test_the_weights_by_hand():
    np.testing.assert_allclose(experiments.running_average(3, 0.9), [0.081, 0.09, 0.1])
    np.testing.assert_allclose(experiments.corrected(3, 0.9), np.array([0.081, 0.09, 0.1]) / 0.271)
    np.testing.assert_allclose(experiments.plain_mean(4), [0.25] * 4)
    np.testing.assert_allclose(experiments.last(4, 2), [0, 0, 0.5, 0.5])
    np.testing.assert_allclose(experiments.last(2, 17), [0.5, 0.5])


def test_estimate_gives_the_rest_to_mean_zero_and_variance_one():
    batches = {1: Running(np.full((2, 1, 1, 3), 4.0, "float32"), np.full((2, 1, 1, 3), 5.0, "float32"))}
    running = experiments.estimate(batches, np.array([0.1, 0.2]))
    np.testing.assert_allclose(running[1].mean, np.full((1, 1, 3), 1.2), rtol=1e-6)
    np.testing.assert_allclose(running[1].var, np.full((1, 1, 3), 2.2), rtol=1e-6)


def test_compare_measures_every_way_and_precise_statistics(readers):
    result = experiments.compare(readers)
    assert result.steps.tolist() == [3, 20]
    assert list(result.error) == list(experiments.WAYS)
    assert list(result.loss) == list(result.accuracy) == [*experiments.WAYS, "precise"]
    assert all(a.shape == (2, 2) for part in result[1:] for a in part.values())
    assert (result.error["decay 0.99"] > result.error["decay 0.99, corrected"]).all()


def test_the_distance_of_means_is_in_standard_deviations():
    precise = {1: Running(np.zeros((2, 1, 4)), np.full((2, 1, 4), 9.0))}
    moved = {1: Running(np.array([[[3.0] * 4], [[6.0, 0, 0, 0]]]), precise[1].var)}
    np.testing.assert_allclose(experiments.distance(moved, precise), [1, 1])


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_the_running_averages_are_those_of_the_frameworks_own_layers(readers, framework):
    """Keras' default decay and PyTorch's, on the batches' inputs to the first layer."""
    require(framework)
    x = np.random.default_rng(0).normal(2, 3, (12, 8, 5)).astype("float32")
    seen = {1: Running(x.mean(axis=1)[:, None, None], x.var(axis=1)[:, None, None])}
    if framework == "torch":
        import torch

        layer, decay, factor = torch.nn.BatchNorm1d(5), 0.9, 8 / 7
        for batch in x:
            layer(torch.from_numpy(batch))
        mean, var = layer.running_mean.numpy(), layer.running_var.numpy()
    else:
        import keras

        layer, decay, factor = keras.layers.BatchNormalization(), 0.99, 1.0
        for batch in x:
            layer(batch, training=True)
        mean, var = np.asarray(layer.moving_mean), np.asarray(layer.moving_variance)
    running = experiments.estimate(seen, experiments.running_average(12, decay))[1]
    np.testing.assert_allclose(mean, running.mean.ravel(), rtol=1e-4)
    np.testing.assert_allclose(var - decay**12, factor * (running.var.ravel() - decay**12), rtol=1e-3)


# --- neighbours, samples, small batches --------------------------------------------------------------------------


def test_together_with_all_is_one_batch_and_alone_is_constant(readers):
    params, x = readers.params[20], readers.split.x_test
    logits, _, _ = mlp_numpy.forward(params, x, training=True, eps=experiments.EPS)
    np.testing.assert_array_equal(experiments.together(params, x, 360), logits.argmax(axis=-1))
    assert all(len(set(row)) == 1 for row in experiments.together(params, x[:, :10], 1))


def test_neighbours_sorts_by_class_and_a_batch_of_all_does_not_mind(readers):
    result = experiments.neighbours(readers.params[20], readers.split, (30, 360))
    assert result["sorted"].shape == (2, 2)
    assert (result["sorted"][0] < result["shuffled"][0]).all()
    np.testing.assert_allclose(result["sorted"][1], result["shuffled"][1], atol=0.01)


def test_companions_count_every_draw(readers):
    params = {name: a[0] for name, a in readers.params[20].items()}
    counts = experiments.companions(params, readers.split.x_test[0], digit=3, size=2, repeats=20)
    assert counts.shape == (10,)
    assert counts.sum() == 20
    alone = experiments.companions(params, readers.split.x_test[0], digit=3, size=1, repeats=5)
    assert alone.max() == 5


def test_one_reader_of_a_population_answers_as_it_did_there(readers):
    params, x = readers.params[20], readers.split.x_test
    running = mlp_numpy.precise_running(params, readers.split.x_train)
    alone, kept = experiments.one(params, running, 1)
    logits, _, _ = mlp_numpy.forward(params, x, running)
    np.testing.assert_array_equal(mlp_numpy.forward(alone, x[1], kept)[0], logits[1])


def test_more_examples_give_better_statistics(readers):
    result = experiments.examples_needed(readers.params[20], readers.split, (4, 1078), repeats=2)
    assert result.loss.shape == result.accuracy.shape == (2, 2, 2)
    np.testing.assert_allclose(result.loss[1], 0, atol=1e-5)
    np.testing.assert_allclose(result.accuracy[1], np.broadcast_to(result.reference, (2, 2)), atol=0.01)
    assert result.loss[0].mean() > 0.01


def test_small_batches_measures_every_arm_at_its_best_rate():
    result = experiments.small_batches((16, 64), seeds=2, epochs=1, rates=(0.1, 0.5))
    assert set(result.accuracy) == {"batch", "precise", "decay 0.9", "decay 0.99", "no batch norm"}
    assert all(a.shape == (2, 2) for a in result.accuracy.values())
    assert set(result.rate["batch norm"]) <= {0.1, 0.5}
    assert (result.accuracy["precise"] > result.accuracy["decay 0.99"]).all()


def test_a_diverged_learning_rate_is_never_the_best():
    assert experiments._best(np.array([np.nan, np.nan, 2.0, 1.0, 3.0, np.inf]), 3) == 1


def test_the_stopwatch_times_every_function():
    called = []
    taken = experiments.stopwatch(
        {"a": lambda: called.append("a"), "b": lambda: called.append("b")}, repeats=4
    )
    assert called == ["a", "b"] * 9
    assert all(len(t) == 4 and (t >= 0).all() for t in taken.values())


# --- the server --------------------------------------------------------------------------------------------------


def test_the_server_imports_numpy_and_the_standard_library_only():
    tree = ast.parse(Path(serve.__file__).read_text(encoding="utf-8"))
    names = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert names == {"numpy", "sys"}
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree))


def test_the_server_answers_as_the_network_does(readers, tmp_path):
    running = mlp_numpy.precise_running(readers.params[20], readers.split.x_train)
    params, kept = experiments.one(readers.params[20], running, 0)
    x, folded = readers.split.x_test[0][:30], {"W4": params["W4"], "b4": params["b4"]}
    for i in (1, 2, 3):
        folded[f"W{i}"], folded[f"b{i}"] = bn_numpy.fold(
            params[f"W{i}"], None, params[f"gamma{i}"], params[f"beta{i}"], kept[i]
        )
    np.savez(tmp_path / "reader.npz", **folded)
    right = mlp_numpy.forward(params, x, kept)[0].argmax(axis=-1)
    layers = serve.load(tmp_path / "reader.npz")
    assert [serve.read(layers, pixels) for pixels in x] == right.tolist()
    lines = "\n".join(" ".join(map(str, pixels)) for pixels in x)
    command = [sys.executable, "-I", serve.__file__, str(tmp_path / "reader.npz")]
    process = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    assert process.stdout.split() == [str(digit) for digit in right]
    assert process.stderr == ""


def test_the_server_reads_line_by_line(monkeypatch, tmp_path, capsys):
    np.savez(tmp_path / "reader.npz", W1=np.eye(3), b1=np.zeros(3))
    monkeypatch.setattr(sys, "argv", ["serve.py", str(tmp_path / "reader.npz")])
    monkeypatch.setattr(sys, "stdin", iter(["0 5 1\n", "1 0 3\n"]))
    runpy.run_path(serve.__file__, run_name="__main__")
    assert capsys.readouterr().out == "1\n2\n"


# --- figures -----------------------------------------------------------------------------------------------------


def labelled(ax) -> bool:
    return bool(ax.get_xlabel() and ax.get_ylabel())


def test_start_draws_each_decay_and_the_one_per_cent_line():
    ax = figures.start(plt.figure().subplots(), (0.9, 0.99), steps=500)
    assert len(ax.lines) == 3
    x, y = ax.lines[0].get_xydata().T
    np.testing.assert_allclose(y, 0.9**x)
    assert labelled(ax)


@pytest.fixture
def comparison(readers):
    return experiments.compare(readers)


def test_gap_draws_the_median_and_every_seed(comparison):
    ax = figures.gap(
        plt.figure().subplots(), comparison, {"decay 0.9": "a", "decay 0.99": "b", "precise": "c"}
    )
    assert len(ax.lines) == 3 * (1 + 2)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.median(comparison.accuracy["decay 0.9"], axis=1))
    np.testing.assert_allclose(ax.lines[1].get_ydata(), comparison.accuracy["decay 0.9"][:, 0])
    assert labelled(ax)


def test_neighbours_draws_every_seed_and_the_test_mode():
    accuracy = {name: np.random.default_rng(0).random((3, 4)) for name in ("shuffled", "sorted")}
    ax = figures.neighbours(plt.figure().subplots(), (1, 2, 4), accuracy, np.full(4, 0.9))
    np.testing.assert_allclose(ax.lines[1].get_ydata(), accuracy["shuffled"].ravel())
    np.testing.assert_allclose(ax.lines[4].get_ydata(), 0.9)
    assert labelled(ax)


def test_ways_draws_all_in_both_panels(comparison):
    axes = plt.figure(layout="constrained").subplots(2, 1)
    figures.ways(axes, comparison)
    n = len(experiments.WAYS)
    assert [len(ax.lines) for ax in axes] == [n, n + 1]
    assert [len(ax.collections) for ax in axes] == [n, n]
    assert len(axes[0].figure.legends[0].get_texts()) == n
    assert axes[0].get_ylabel()
    assert labelled(axes[1])


def test_sample_draws_every_draw_of_every_seed():
    values = np.random.default_rng(0).random((2, 3, 4))
    result = experiments.Sample(values, values, values[0, 0])
    ax = figures.sample(plt.figure().subplots(), (8, 16), result)
    np.testing.assert_allclose(ax.lines[1].get_ydata(), values.ravel())
    assert labelled(ax)


def test_small_batches_draws_five_arms():
    names = ("precise", "decay 0.9", "decay 0.99", "batch", "no batch norm")
    accuracy = {name: np.random.default_rng(0).random((2, 3)) for name in names}
    result = experiments.SmallBatches(np.array([2, 4]), accuracy, {})
    ax = figures.small_batches(plt.figure().subplots(), result)
    assert len(ax.lines) == 10
    np.testing.assert_allclose(ax.lines[1].get_ydata(), accuracy["precise"].ravel())
    assert labelled(ax)


def test_times_draws_the_medians_and_says_what_is_saved():
    before, after = {"NumPy": np.full(5, 40.0)}, {"NumPy": np.full(5, 10.0)}
    ax = figures.times(plt.figure().subplots(), before, after)
    assert [text.get_text() for text in ax.texts] == ["75 % saved"]
    assert ax.get_xlabel()
    assert [t.get_text() for t in ax.get_yticklabels()] == ["NumPy"]


# --- checks ------------------------------------------------------------------------------------------------------


def said(check, function, capsys) -> str:
    check(function)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    return lines[0]


def refuses(*_):
    raise NotImplementedError


@pytest.mark.parametrize("check", [checks.corrected, checks.pool, checks.fold_forward])
@pytest.mark.parametrize("stub", [lambda *_: ..., lambda *_: None, refuses])
def test_an_unfilled_stub_is_not_attempted_yet(check, stub, capsys):
    assert said(check, stub, capsys) == "not attempted yet"


def average(means, d, start=0.0):
    r = start
    for mean in means:
        r = d * r + (1 - d) * mean
    return r


def corrects_inside(means, d):
    r = 0.0
    for t, mean in enumerate(means, start=1):
        r = (d * r + (1 - d) * mean) / (1 - d**t)
    return r


CORRECTED = [
    (lambda m, d: average(m, d) / (1 - d ** len(m)), "correct"),
    (average, "still held back by its start at 0"),
    (lambda m, d: average(m[1:], d, start=m[0]), "you start at the first batch"),
    (lambda m, d: average(m, 1 - d) / (1 - (1 - d) ** len(m)), "decay is the weight that is KEPT"),
    (lambda m, d: average(m, d) / (1 - d ** (len(m) - 1)), "you count one step too few"),
    (lambda m, d: average(m, d) / (1 - d), "you divide by 1 - decay"),
    (lambda m, d: average(m, d) * (1 - d ** len(m)), "you multiply by the correction"),
    (corrects_inside, "you correct inside the loop"),
    (lambda m, d: m.mean(axis=0), "that is the plain mean"),
    (lambda m, d: average(m, d) / (1 - d ** len(m)) + 0.25, "the average is off by up to 0.25"),
    (lambda m, d: np.zeros(2), "must have shape (3,), got (2,)"),
]


@pytest.mark.parametrize(("function", "sentence"), CORRECTED)
def test_each_mistake_with_the_correction_is_named(function, sentence, capsys):
    assert sentence in said(checks.corrected, function, capsys)


def pooled(counts, means, variances):
    w = (counts / counts.sum())[:, None]
    mean = (w * means).sum(axis=0)
    return mean, (w * variances).sum(axis=0), (w * (means - mean) ** 2).sum(axis=0)


def pool_with(variance):
    def function(counts, means, variances):
        mean, within, between = pooled(counts, means, variances)
        return mean, variance(counts, means, variances, within, between)

    return function


def total(counts, means, variances, within, between):
    return within + between


POOL = [
    (pool_with(total), "correct"),
    (lambda c, m, v: (m.mean(axis=0), v.mean(axis=0)), "the mean must weight each batch"),
    (lambda c, m, v: ((c[:, None] * m).sum(axis=0), v[0]), "forgot to divide the mean"),
    (lambda c, m, v: m.mean(axis=0), "return the pair"),
    (lambda c, m, v: (m[0] + 1, v[0]), "the mean is off by"),
    (pool_with(lambda c, m, v, w, b: w), "that inside the batches"),
    (pool_with(lambda c, m, v, w, b: b), "that between the means"),
    (pool_with(lambda c, m, v, w, b: v.mean(axis=0) + b), "inside the batches need weights"),
    (pool_with(lambda c, m, v, w, b: w + m.var(axis=0)), "between the means needs weights too"),
    (pool_with(lambda c, m, v, w, b: v.mean(axis=0) + m.var(axis=0)), "neither part"),
    (pool_with(lambda c, m, v, w, b: (w + b) * 16 / 15), "divides by n - 1"),
    (pool_with(lambda c, m, v, w, b: w * 16 / 13 + b), "n minus the number of batches"),
    (pool_with(lambda c, m, v, w, b: w + b + 1), "the variance is off by"),
]


@pytest.mark.parametrize(("function", "sentence"), POOL)
def test_each_mistake_with_pooling_is_named(function, sentence, capsys):
    assert sentence in said(checks.pool, function, capsys)


def forward_with(rows=lambda g, v, e: g / np.sqrt(v + e), shift=None):
    def function(gamma, beta, mean, var, W, b, eps):
        scale = gamma / np.sqrt(var + eps)
        new = b + (beta - mean * scale) @ W if shift is None else shift(gamma, beta, mean, scale, W, b)
        return rows(gamma, var, eps)[:, None] * W, new

    return function


FOLD = [
    (forward_with(), "correct"),
    (lambda *a: np.zeros(3), "return the pair"),
    (forward_with(lambda g, v, e: g / np.sqrt(v)), "forgets eps"),
    (forward_with(lambda g, v, e: 1 / np.sqrt(v + e)), "forgets gamma"),
    (forward_with(lambda g, v, e: g / (v + e)), "divided by the variance"),
    (forward_with(lambda g, v, e: np.ones_like(g)), "each of its ROWS"),
    (forward_with(lambda g, v, e: 2 * g), "W is off by"),
    (forward_with(shift=lambda g, beta, m, s, W, b: b), "forgets the shift"),
    (forward_with(shift=lambda g, beta, m, s, W, b: b - (m * s) @ W), "forgets beta"),
    (forward_with(shift=lambda g, beta, m, s, W, b: b + beta @ W), "forgets the mean"),
    (forward_with(shift=lambda g, beta, m, s, W, b: b + (beta + m * s) @ W), "sign of the mean wrong"),
    (forward_with(shift=lambda g, beta, m, s, W, b: b + (beta - m) @ W), "scales the mean but not by"),
    (forward_with(shift=lambda g, beta, m, s, W, b: b + (beta - m * s) @ (s[:, None] * W)), "scaled twice"),
    (forward_with(shift=lambda g, beta, m, s, W, b: (beta - m * s) @ W), "forgets the old b"),
    (forward_with(shift=lambda g, beta, m, s, W, b: b + 1), "b is off by"),
]


@pytest.mark.parametrize(("function", "sentence"), FOLD)
def test_each_mistake_with_folding_forward_is_named(function, sentence, capsys):
    assert sentence in said(checks.fold_forward, function, capsys)


def test_folding_forward_is_batch_norm_followed_by_the_layer():
    rng = np.random.default_rng(3)
    gamma, beta, mean = rng.normal(size=(3, 4))
    var, W, b, x = (
        rng.uniform(0.5, 2, 4),
        rng.normal(size=(4, 3)),
        rng.normal(size=3),
        rng.normal(size=(5, 4)),
    )
    W_new, b_new = forward_with()(gamma, beta, mean, var, W, b, 1e-3)
    right = bn_numpy.batch_norm_test(x, gamma, beta, Running(mean, var), eps=1e-3) @ W + b
    np.testing.assert_allclose(x @ W_new + b_new, right, rtol=1e-10)
