"""The chapter on why batch norm works: its experiments, its figures, and what its checks say to a reader."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from dlbook.batch_norm import variants
from dlbook.batch_norm import why_checks as checks
from dlbook.batch_norm import why_experiments as experiments
from dlbook.batch_norm import why_figures as figures
from dlbook.mlp import numpy as mlp_numpy
from dlbook.optimizers import numpy as opt_numpy

GUESSING = np.log(10)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def network(rng, *, batch_norm=True, models=2, dtype="float64"):
    return mlp_numpy.init((64, 8, 8, 10), rng, models=models, batch_norm=batch_norm, dtype=dtype)


def batch(rng, models=2):
    return rng.standard_normal((models, 12, 64)), rng.integers(0, 10, (models, 12))


# --- experiments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_norm", [False, True])
def test_gradients_are_those_of_the_package(rng, batch_norm):
    params, (x, y) = network(rng, batch_norm=batch_norm), batch(rng)
    loss, grads = experiments.gradients(params, x, y)
    expected_loss, expected, _ = mlp_numpy.loss_and_gradients(params, x, y)
    np.testing.assert_allclose(loss, expected_loss)
    assert list(grads) == list(expected)
    for name, grad in expected.items():
        np.testing.assert_allclose(grads[name], grad, atol=1e-12)


def test_training_is_that_of_the_package():
    arm = experiments.train([0.1], 1, batch_norm=True, hidden=2, steps=12)
    rng, part = np.random.default_rng(0), experiments.data.digits(0)
    params = mlp_numpy.init((64, 32, 32, 10), rng, batch_norm=True)
    fit = mlp_numpy.fit(
        params, part.x_train, part.y_train, optimizer=opt_numpy.sgd(0.1), steps=12, batch_size=64, rng=rng
    )
    np.testing.assert_allclose(arm.params["W2"][0], fit.params["W2"], atol=1e-5)
    assert arm.loss.shape == arm.drift.shape == (1, 1)


def test_a_diverged_run_is_drawn_at_guessing():
    arm = experiments.train([1e4, 0.1], 1, batch_norm=False, hidden=1, steps=11)
    assert arm.loss[0, 0] == pytest.approx(GUESSING)
    assert arm.loss[1, 0] < GUESSING


def test_noisy_batch_norm_multiplies_and_shifts_the_units(rng):
    params, (x, y) = network(rng), batch(rng)
    noisy, back = experiments.jittered(params, [np.random.default_rng(k) for k in range(2)], 0.5, 1.25)
    factor, shift = noisy["gamma1"], noisy["beta1"]  # gamma was 1, beta 0
    assert 0.8 <= factor.min() < factor.max() <= 1.25
    assert np.abs(shift).max() <= 0.5
    np.testing.assert_array_equal(noisy["W1"], params["W1"])
    grads = back(experiments.gradients(noisy, x, y)[1])

    def loss(gamma):
        return experiments.gradients({**noisy, "gamma1": gamma * factor}, x, y)[0]

    h = 1e-6 * np.eye(8)[0]
    slope = (loss(1 + h) - loss(1 - h)) / 2e-6
    np.testing.assert_allclose(grads["gamma1"][:, 0, 0], slope, rtol=1e-4, atol=1e-8)


def test_noise_moves_the_units():
    quiet = experiments.train([0.1], 1, batch_norm=True, hidden=2, steps=21)
    noisy = experiments.train([0.1], 1, batch_norm=True, hidden=2, steps=21, noise=(1, 1.5))
    assert noisy.drift[0, 0] > 3 * quiet.drift[0, 0]


def test_unlike_ranges_keep_the_mean_square_of_each_layer(rng):
    params = network(rng, dtype="float32")
    other = experiments.unlike(params, None)
    ratio = (other["W1"] / params["W1"])[0, 0]
    assert ratio.max() > 5 * ratio.min()
    np.testing.assert_allclose((ratio**2).mean(), 1, rtol=1e-4)
    np.testing.assert_array_equal(other["W3"], params["W3"])


def test_alike_once_is_what_batch_norm_computes_at_first():
    _, _, generators, part = experiments.columns([(0.0, 1.0, 0)])
    params = mlp_numpy.init((64, 8, 8, 10), generators, batch_norm=True)
    folded = experiments.alike_once(params, part)
    assert {name[:-1] for name in folded} == {"W", "b"}
    expected, _ = experiments.forward(experiments.unlike(params, part), part.x_train)
    np.testing.assert_allclose(experiments.forward(folded, part.x_train)[0], expected, atol=1e-3)


def test_batch_norm_does_not_see_rescaled_units():
    params = experiments.train([0.3], 1, batch_norm=True, hidden=3, steps=11).params
    result = experiments.change_early_layers(params, 1, (0, 1))
    assert result.rescaled.shape == result.disturbed.shape == (2, 1)
    np.testing.assert_allclose(result.rescaled[1], result.rescaled[0], atol=0.01)
    assert result.disturbed[1] < result.disturbed[0]


def test_a_tiny_step_keeps_everything_and_turns_nothing():
    result = experiments.one_step([1e-4, 10], 2, batch_norm=True, warm=11)
    np.testing.assert_allclose(result.kept[0], 1, atol=0.1)
    for cosine in (result.late, result.whole):
        np.testing.assert_allclose(cosine[0], 1, atol=1e-3)
        assert (cosine[1] < 0.9).all()
    assert (result.change[0] < 0.01).all()


def steps(joint, kept):
    joint, kept = np.array(joint), np.array(kept)
    return experiments.Steps(joint, kept, kept, kept, kept)


def test_equal_progress_is_the_first_step_that_gains_as_much():
    plain = steps([[0.1, 0.2], [0.2, 0.1]], [[0.9, 0.8], [0.7, 0.6]])
    normalised = steps([[0.15, 0.1], [0.25, 0.12], [0.5, 0.15]], [[1.0, 1.1], [0.95, 1.2], [0.5, 1.3]])
    equal = experiments.at_equal_progress(plain, normalised)
    np.testing.assert_allclose(equal.gain, [0.2, 0.2])
    np.testing.assert_allclose(equal.kept, [[0.7, 0.8], [0.95, np.nan]])
    np.testing.assert_allclose(equal.whole, equal.kept)


def test_decay_is_a_schedule_exactly_without_eps_only():
    exact = experiments.decay_as_schedule(1, steps=20)
    np.testing.assert_allclose(exact.decayed, exact.scheduled, atol=1e-12)
    assert exact.lengths["decayed"][-1] < exact.lengths["scheduled"][-1]
    rough = experiments.decay_as_schedule(1, steps=20, eps=1e-3)
    assert np.abs(rough.decayed - rough.scheduled).max() > 1e-9


def test_whole_groups_are_batch_norm_and_small_ones_are_not():
    result = experiments.ghosts((0.3,), (32, 4), 2, rows=32, steps=6)
    assert list(result) == [32, 4]
    _, _, generators, part = experiments.columns([(0.3, 1.0, s) for s in range(2)])
    params = mlp_numpy.init((64, 32, 32, 10), generators, batch_norm=True)
    x, y = part.x_train[:, :32], part.y_train[:, :32]
    fit = mlp_numpy.fit(params, x, y, optimizer=opt_numpy.sgd(0.3), steps=6)  # the order does not matter
    expected, _ = mlp_numpy.evaluate(fit.params, x, y, mlp_numpy.precise_running(fit.params, x))
    np.testing.assert_allclose(result[32].train_loss[0], expected, rtol=1e-3)
    assert (np.abs(result[4].train_loss - result[32].train_loss) > 1e-3).all()
    assert (result[4].reliance > 0).all()


def test_the_mean_of_a_batch_varies_like_one_over_the_root():
    noise = experiments.statistics_noise((4, 64), draws_of=100)
    np.testing.assert_allclose(noise, [0.5, 0.125], rtol=0.2)


def test_a_shift_of_contrast_does_not_reach_the_statistics_of_the_shifted_digits():
    params = experiments.train([0.3], 1, batch_norm=True, hidden=2, steps=11).params
    accuracy = experiments.input_shift(
        {"stored": (params, None), "own": (params, experiments.whole_batch)}, 1
    )
    assert accuracy["own"].shape == (len(experiments.SHIFTS), 1)
    half = list(experiments.SHIFTS).index("contrast × 0.5")
    np.testing.assert_allclose(accuracy["own"][half], accuracy["own"][0], atol=0.02)
    assert accuracy["stored"][half] < accuracy["stored"][0]


def test_gradients_grow_with_depth_under_batch_norm_only():
    lengths = experiments.depth(1, hidden=20)
    assert lengths["batch norm"].shape == (20, 1)
    assert lengths["batch norm"][0] / lengths["batch norm"][-1] > 10
    for name in ("plain", "batch norm, skip"):
        assert 0.1 < lengths[name][1] / lengths[name][-1] < 10


def test_residual_gradients_are_the_slope(rng):
    params = mlp_numpy.init((5, 4, 4, 4, 3), rng, models=1, batch_norm=True, dtype="float64")
    x, y = rng.standard_normal((1, 6, 5)), rng.integers(0, 3, (1, 6))

    def loss(params):
        h = x @ params["W1"]
        for i in (2, 3):
            h = h + np.maximum((h - h.mean(axis=1)) / np.sqrt(h.var(axis=1) + 1e-5), 0) @ params[f"W{i}"]
        return experiments.cross_entropy(h @ params["W4"], y)

    grads = experiments.residual_gradients(params, x, y)
    for name in ("W1", "W2", "W3"):
        towards = rng.standard_normal(params[name].shape)
        ends = [loss({**params, name: params[name] + s * 1e-6 * towards}) for s in (1, -1)]
        np.testing.assert_allclose((ends[0] - ends[1]) / 2e-6, (grads[name] * towards).sum(), rtol=1e-5)


def test_layer_norm_takes_the_place_of_batch_norm(rng):
    z, gamma, beta = rng.standard_normal((4, 6)), np.ones(6), np.zeros(6)
    np.testing.assert_allclose(
        experiments.layer_normalised(z, gamma, beta)[0], variants.layer_norm(z, gamma, beta)[0]
    )


# --- figures ---------------------------------------------------------------------------------------------------


def labelled(*axes):
    return all(ax.get_xlabel() and ax.get_ylabel() for ax in axes)


@pytest.fixture
def trained(rng):
    return {
        name: experiments.Arm(rng.random((2, 3)), rng.random((2, 3)), {}) for name in ("plain", "batch norm")
    }


def test_losses_draws_every_seed_and_guessing(trained):
    ax = figures.losses(plt.figure().subplots(), [0.1, 1], trained)
    np.testing.assert_allclose(ax.lines[1].get_ydata(), trained["plain"].loss.ravel())
    assert ax.lines[-1].get_ydata()[0] == pytest.approx(GUESSING)
    assert labelled(ax)


def test_drift_draws_each_arm_at_its_best_rate(trained):
    ax = figures.drift(plt.figure().subplots(), trained)
    best = np.median(trained["plain"].loss, axis=1).argmin()
    np.testing.assert_allclose(ax.lines[0].get_xdata(), trained["plain"].drift[best])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(trained)
    assert labelled(ax)


def test_changed_draws_both_kinds(rng):
    readers = {name: experiments.Changed(*rng.random((2, 3, 4))) for name in ("plain", "batch norm")}
    axes = plt.figure().subplots(1, 2)
    figures.changed(axes, (0, 0.5, 1), readers)
    np.testing.assert_allclose(axes[1].lines[0].get_ydata(), np.median(readers["plain"].disturbed, axis=1))
    assert labelled(axes[0])


def test_steps_end_at_the_largest_gain():
    joint = np.array([[0.1], [0.3], [0.2]])
    measured = {name: experiments.Steps(*5 * [joint]) for name in ("plain", "batch norm")}
    axes = plt.figure().subplots(1, 2)
    figures.steps(axes, measured)
    np.testing.assert_allclose(axes[0].lines[0].get_xdata(), [0.1, 0.3])
    assert labelled(*axes)


def test_decay_draws_both_runs(rng):
    result = experiments.Decay(
        rng.random((4, 2)),
        rng.random((4, 2)),
        np.ones(4),
        {"decayed": np.ones((4, 2)), "scheduled": np.ones((4, 2))},
    )
    axes = plt.figure().subplots(1, 2)
    figures.decay(axes, result)
    assert [len(ax.lines) for ax in axes] == [2, 2]
    assert labelled(*axes)


def test_ghosts_are_drawn_against_the_whole_batch(rng):
    result = {size: experiments.Ghosts(*rng.random((3, 2, 5))) for size in (64, 8)}
    axes = plt.figure().subplots(1, 2)
    figures.ghosts(axes, result, (0.3, 1))
    np.testing.assert_allclose(axes[0].lines[0].get_ydata()[0], 0)
    np.testing.assert_allclose(
        axes[0].lines[0].get_ydata()[1], (result[8].loss[0] - result[64].loss[0]).mean()
    )
    assert labelled(*axes)


def test_shifts_has_a_row_for_each(rng):
    ax = figures.shifts(plt.figure().subplots(), ["none", "half"], {"plain": rng.random((2, 3))})
    assert [label.get_text() for label in ax.get_yticklabels()] == ["none", "half"]
    assert ax.get_xlabel()


def test_depth_draws_every_seed(rng):
    names = ("plain", "batch norm", "layer norm", "batch norm, skip")
    ax = figures.depth(plt.figure().subplots(), {name: 1 + rng.random((6, 2)) for name in names})
    assert len(ax.lines) == 8
    assert labelled(ax)


# --- checks ----------------------------------------------------------------------------------------------------


def said(check, function, capsys) -> str:
    check(function)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    return lines[0]


def refuses(*_):
    raise NotImplementedError


@pytest.mark.parametrize("check", [checks.ghost, checks.schedule, checks.trunk])
@pytest.mark.parametrize("stub", [lambda *_: None, refuses, lambda *_: ...])
def test_an_unfilled_stub_is_not_attempted_yet(check, stub, capsys):
    assert said(check, stub, capsys) == "not attempted yet"


def normal(a, axis=0, ddof=0):
    return (a - a.mean(axis=axis, keepdims=True)) / np.sqrt(a.var(axis=axis, keepdims=True, ddof=ddof) + 1e-5)


def grouped(x, size, axis=1, ddof=0):
    return normal(x.reshape(-1, size, x.shape[-1]), axis, ddof).reshape(x.shape)


def centred(x, size):
    groups = x.reshape(-1, size, x.shape[-1])
    return (groups - groups.mean(axis=1, keepdims=True)).reshape(x.shape)


GHOST = [
    (grouped, "correct"),
    (lambda x, size: normal(x), "ordinary batch norm"),
    (lambda x, size: grouped(x, size, ddof=1), "divides by size - 1"),
    (lambda x, size: normal(x, 1), "layer norm"),
    (lambda x, size: grouped(x, size, axis=0), "averaged over the groups"),
    (lambda x, size: normal(x.reshape(size, -1, 3), 0).reshape(x.shape), "neighbouring rows belong together"),
    (lambda x, size: grouped(x, len(x) // size), "you made size groups"),
    (lambda x, size: normal(x.reshape(-1, size, 3), 1), "still has its groups apart"),
    (centred, "did not divide"),
    (lambda x, size: grouped(x, size) + 1, "off by up to 1"),
]


@pytest.mark.parametrize(("function", "sentence"), GHOST)
def test_each_mistake_with_the_groups_is_named(function, sentence, capsys):
    assert sentence in said(checks.ghost, function, capsys)


def rates(exponent, sign=-1, factor=None):
    def schedule(rate, decay, steps):
        kept = 1 - rate * decay if factor is None else factor(rate, decay)
        return rate * kept ** (sign * exponent(np.arange(steps, dtype=float)))

    return schedule


SCHEDULE = [
    (rates(lambda t: 2 * t + 1), "correct"),
    (rates(lambda t: 2 * t + 1, sign=1), "your rates fall"),
    (rates(lambda t: 2 * t), "the exponent starts at 1"),
    (rates(lambda t: t + 1), "once for the gradient, once for the weights"),
    (rates(lambda t: t), "grows by 2 a step, and starts at 1"),
    (rates(lambda t: 2 * t + 2), "yours starts at 2"),
    (rates(lambda t: 2 * t + 1, factor=lambda rate, decay: 1 - decay), "not 1 - decay"),
    (lambda rate, decay, steps: (1 - rate * decay) ** -(2.0 * np.arange(steps) + 1), "you gave the factors"),
    (lambda rate, decay, steps: np.ones(steps + 1), "must have shape (6,)"),
]


@pytest.mark.parametrize(("function", "sentence"), SCHEDULE)
def test_each_mistake_with_the_schedule_is_named(function, sentence, capsys):
    assert sentence in said(checks.schedule, function, capsys)


def relu(a):
    return np.maximum(a, 0)


def trunk(block, *, start=False, after=lambda a: a):
    def variances(h, weights):
        values = [h.var()]
        for W in weights:
            h = block(h, W)
            values.append(h.var())
        return after(np.array(values if start else values[1:]))

    return variances


def right(h, W):
    return h + relu(normal(h)) @ W


TRUNK = [
    (trunk(right), "correct"),
    (trunk(lambda h, W: relu(normal(h)) @ W), "no skip connection"),
    (trunk(lambda h, W: normal(h + relu(h) @ W)), "sits on the trunk"),
    (trunk(lambda h, W: relu(h + normal(h) @ W)), "your ReLU comes after"),
    (trunk(lambda h, W: h + normal(h) @ W), "no ReLU"),
    (trunk(lambda h, W: h + relu(h) @ W), "no batch norm"),
    (trunk(lambda h, W: h + relu(normal(h @ W))), "come before the weights"),
    (trunk(right, after=np.sqrt), "square them"),
    (trunk(right, start=True), "one variance for each block"),
    (trunk(right, start=True, after=lambda a: a[:-1]), "before the first block is not asked for"),
    (trunk(right, after=lambda a: a + 1), "off by up to 1"),
]


@pytest.mark.parametrize(("function", "sentence"), TRUNK)
def test_each_mistake_with_the_trunk_is_named(function, sentence, capsys):
    assert sentence in said(checks.trunk, function, capsys)
