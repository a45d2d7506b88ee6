"""The experiments of the chapter on why batch norm works: seeds and settings in, plain arrays out.

All networks read the digits. What varies between seeds is the split, the first weights and the order of the
mini-batches; the arms of a comparison share all three. Networks that differ in a setting or a seed are trained side
by side, as one population: arrays have a leading axis of K models.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlbook import data
from dlbook.batch_norm import variants
from dlbook.batch_norm.network_experiments import CLASSES, FEATURES, GUESSING, columns
from dlbook.batch_norm.numpy import fold
from dlbook.mlp import Params, draws
from dlbook.mlp import numpy as mlp_numpy
from dlbook.mlp.arguments import layers
from dlbook.optimizers import numpy as opt_numpy
from dlbook.parallel import parallel
from dlbook.softmax.numpy import cross_entropy, cross_entropy_backward

WIDTH, HIDDEN, BATCH, STEPS = 32, 5, 64, 102  # six epochs of 17 mini-batches

Norm = Callable[[Any, Any, Any], tuple[Any, variants.Pieces]]  # (z, gamma, beta) -> (y, cache)


def whole_batch(z, gamma, beta, *, eps=1e-5):
    """Batch norm as one ghost group."""
    return variants.ghost_batch_norm(z, gamma, beta, group_size=z.shape[-2], eps=eps)


def forward(params: Params, x: np.ndarray, norm: Norm = whole_batch) -> tuple[np.ndarray, list]:
    """The logits, and (input, output before the ReLU, cache of the normalisation) of every layer.

    A layer with `gamma` and `beta` is normalised by `norm`; a layer with `b` is an ordinary one.
    """
    h, seen, last = x, [], layers(params)
    for i in range(1, last + 1):
        z, cache = h @ params[f"W{i}"], None
        if f"gamma{i}" in params:
            z, cache = norm(z, params[f"gamma{i}"], params[f"beta{i}"])
        else:
            z = z + params[f"b{i}"]
        seen.append((h, z, cache))
        h = np.maximum(z, 0)
    return z, seen


def gradients(params: Params, x: np.ndarray, y: np.ndarray, norm: Norm = whole_batch) -> tuple[Any, Params]:
    """The mean loss of each model on a batch, and the gradients of their sum."""
    logits, seen = forward(params, x, norm)
    loss = cross_entropy(logits, y, reduction="none").mean(axis=-1)
    dz, grads = cross_entropy_backward(logits, y, reduction="sum") / y.shape[-1], {}
    for i in range(len(seen), 0, -1):
        h, z, cache = seen[i - 1]
        if i < len(seen):
            dz = dz * (z > 0)
        if cache is None:
            grads[f"b{i}"] = dz.sum(axis=-2, keepdims=True)
        else:
            dz, grads[f"gamma{i}"], grads[f"beta{i}"] = variants.backward(dz, cache)
        grads[f"W{i}"] = np.matrix_transpose(h) @ dz
        dz = dz @ np.matrix_transpose(params[f"W{i}"])
    return loss, {name: grads[name] for name in params}


def layer_normalised(z, gamma, beta):
    """Layer norm, in the place of batch norm."""
    return variants.layer_norm(z, gamma, beta)


class Arm(NamedTuple):
    """A population after training: one row a learning rate, one column a seed."""

    loss: np.ndarray  # of all training rows, nats; GUESSING for a run that ended no better than that
    drift: (
        np.ndarray
    )  # how far what enters the last ReLU moves in ten steps: its means, in standard deviations
    params: Params  # of the K = rates x seeds models, before they are put in rows and columns


@np.errstate(all="ignore")
def train(
    rates: Sequence[float],
    seeds: int,
    *,
    batch_norm: bool,
    norm: Norm = whole_batch,
    prepare: Callable[[Params, data.Split], Params] = lambda params, part: params,
    noise: tuple[float, float] | None = None,
    hidden: int = HIDDEN,
    steps: int = STEPS,
) -> Arm:
    """Train a network of `hidden` layers of 32 ReLUs at every rate and seed, by gradient descent.

    `prepare` may change the first parameters of the population; `noise` is that of `jittered`.
    """
    lr, _, generators, part = columns([(rate, 1.0, seed) for rate in rates for seed in range(seeds)])
    params = prepare(mlp_numpy.init(_sizes(hidden), generators, batch_norm=batch_norm), part)
    jitters = [np.random.default_rng([seed, 1]) for _ in rates for seed in range(seeds)]
    optimizer, moves, before = opt_numpy.sgd(lr), [], None
    for step, rows in enumerate(draws.batches(part.x_train.shape[1], BATCH, generators, steps)):
        model = np.arange(len(rows))[:, None]
        x, y = part.x_train[model, rows], part.y_train[model, rows]
        if noise is None:
            seen_by, grads = params, gradients(params, x, y, norm)[1]
        else:
            seen_by, back = jittered(params, jitters, *noise)
            grads = back(gradients(seen_by, x, y, norm)[1])
        if step % 10 == 0:
            z = forward(seen_by, part.x_train[:, :256], norm)[1][-2][1]
            now = z.mean(axis=1), z.std(axis=1)
            if before is not None:
                moves.append((np.abs(now[0] - before[0]) / before[1]).mean(axis=-1))
            before = now
        params, _ = optimizer.step(params, grads, optimizer.init(params))
    shape = len(rates), seeds
    return Arm(_score(params, part, norm).reshape(shape), np.mean(moves, axis=0).reshape(shape), params)


def jittered(params: Params, rngs: list, shift: float, factor: float) -> tuple[Params, Callable]:
    """Noisy batch norm: every hidden unit's output times a random number, plus another; new ones every step.

    The factor lies between 1 / `factor` and `factor`, the shift between -`shift` and `shift`. Both fit into
    gamma and beta. Also returns what turns the gradients in the noisy parameters into those in the parameters.
    """
    noisy, factors = dict(params), {}
    for i in range(1, layers(params)):
        shape = params[f"gamma{i}"].shape[1:]
        scale = np.stack([factor ** rng.uniform(-1, 1, shape) for rng in rngs]).astype("float32")
        move = np.stack([rng.uniform(-shift, shift, shape) for rng in rngs]).astype("float32")
        noisy[f"gamma{i}"] = params[f"gamma{i}"] * scale
        noisy[f"beta{i}"] = params[f"beta{i}"] * scale + move
        factors |= {f"gamma{i}": scale, f"beta{i}": scale}
    return noisy, lambda grads: {name: grad * factors.get(name, 1) for name, grad in grads.items()}


def unlike(params: Params, part: data.Split) -> Params:
    """Give the hidden units unlike ranges: weights times random numbers from 0.1 to 10, at the same mean square."""
    seeds = len(params["W1"])
    result = dict(params)
    for i in range(1, layers(params)):
        W = params[f"W{i}"]
        factors = 10 ** np.random.default_rng(i).uniform(-1, 1, (seeds, 1, W.shape[-1]))
        factors /= np.sqrt((factors**2).mean(axis=-1, keepdims=True))
        result[f"W{i}"] = (W * factors).astype(W.dtype)
    return result


def alike_once(params: Params, part: data.Split) -> Params:
    """An ordinary network that starts where batch norm would: its first normalisation is folded into the weights."""
    params = unlike(params, part)
    running, result = mlp_numpy.precise_running(params, part.x_train), {}
    for i in range(1, layers(params)):
        named = (params[f"{name}{i}"] for name in ("gamma", "beta"))
        result[f"W{i}"], result[f"b{i}"] = fold(params[f"W{i}"], None, *named, running[i])
    last = layers(params)
    return {**result, f"W{last}": params[f"W{last}"], f"b{last}": params[f"b{last}"]}


class Changed(NamedTuple):
    """Validation accuracy after the first two layers have changed; (sizes, seeds)."""

    rescaled: np.ndarray
    disturbed: np.ndarray


@np.errstate(all="ignore")
def change_early_layers(
    params: Params, seeds: int, sizes: Sequence[float], norm: Norm = whole_batch
) -> Changed:
    """Change layers 1 and 2 of trained networks, leave the others, and read the validation digits.

    Rescaled: the input weights of every unit times exp(size · normal). Disturbed: every weight plus normal noise of
    `size` times the standard deviation of the layer's weights. Batch norm uses the digits it reads as the batch.
    """
    _, _, _, part = columns([(0.0, 1.0, seed) for seed in range(seeds)])
    results = [[], []]
    for size in sizes:
        for kind, result in enumerate(results):
            rng, other = np.random.default_rng(0), dict(params)
            for i in (1, 2):
                W = params[f"W{i}"]
                if kind == 0:
                    other[f"W{i}"] = W * np.exp(size * rng.standard_normal(W[:, :1].shape)).astype(W.dtype)
                else:
                    spread = W.std(axis=(1, 2), keepdims=True)
                    other[f"W{i}"] = W + size * spread * rng.standard_normal(W.shape).astype(W.dtype)
            logits, _ = forward(other, part.x_val, norm)
            result.append((logits.argmax(axis=-1) == part.y_val).mean(axis=-1))
    return Changed(*map(np.array, results))


class Steps(NamedTuple):
    """One step of gradient descent at several rates, from the same point; all (rates, seeds)."""

    joint: np.ndarray  # the share of the loss that is gone when all layers have stepped
    kept: np.ndarray  # joint, divided by what the early and the late layers gain each on their own
    late: np.ndarray  # cosine between the late layers' gradients before and after the early layers' step
    whole: np.ndarray  # cosine between the whole gradients before and after the joint step
    change: np.ndarray  # length of the change of the gradient in the joint step, divided by its length before


@np.errstate(all="ignore")
def one_step(
    rates: Sequence[float],
    seeds: int = 5,
    *,
    batch_norm: bool,
    warm: int = STEPS // 2,
    warm_rate: float = 0.1,
) -> Steps:
    """Train for `warm` steps, then measure what one more step does on 128 fixed training rows.

    The early layers are the first half, the late ones the second, the layer of the logits included.
    """
    params = train([warm_rate], seeds, batch_norm=batch_norm, steps=warm).params
    _, _, _, part = columns([(0.0, 1.0, seed) for seed in range(seeds)])
    x, y = part.x_train[:, :128], part.y_train[:, :128]
    early = {name for name in params if int(name[-1]) <= layers(params) // 2}
    loss, grads = gradients(params, x, y)
    rows = []
    for rate in rates:

        def after(names, rate=rate):
            return {name: a - rate * grads[name] if name in names else a for name, a in params.items()}

        early_loss, early_grads = gradients(after(early), x, y)
        late_loss, _ = gradients(after(params.keys() - early), x, y)
        both_loss, both_grads = gradients(after(params), x, y)
        late_before, late_after = (_flat(g, params.keys() - early) for g in (grads, early_grads))
        before, now = (_flat(g, params) for g in (grads, both_grads))
        rows.append(
            (
                1 - both_loss / loss,
                (loss - both_loss) / (2 * loss - early_loss - late_loss),
                _cosine(late_before, late_after),
                _cosine(before, now),
                np.linalg.norm(now - before, axis=1) / np.linalg.norm(before, axis=1),
            )
        )
    return Steps(*np.swapaxes(rows, 0, 1))


class Equal(NamedTuple):
    """Two networks after steps that take the same share of the loss away; one entry a seed."""

    gain: np.ndarray  # the largest share that one step of the plain network takes
    kept: np.ndarray  # (2, seeds), the plain network first
    whole: np.ndarray  # (2, seeds)


def at_equal_progress(plain: Steps, normalised: Steps) -> Equal:
    """The plain network's largest gain beside the first step of the other that gains as much; NaN if none does."""
    seeds = np.arange(plain.joint.shape[1])
    own = plain.joint.argmax(axis=0)
    gain = plain.joint[own, seeds]
    enough = normalised.joint >= gain
    other = np.where(enough.any(axis=0), enough.argmax(axis=0), -1)

    def both(field):
        second = getattr(normalised, field)[other, seeds]
        return np.array([getattr(plain, field)[own, seeds], np.where(other < 0, np.nan, second)])

    return Equal(gain, both("kept"), both("whole"))


class Decay(NamedTuple):
    """Weight decay at a constant rate, beside a rising rate without decay; (steps, seeds)."""

    decayed: np.ndarray  # the loss before each step
    scheduled: np.ndarray
    rates: np.ndarray  # (steps,) of the second run
    lengths: dict[str, np.ndarray]  # of the hidden weights, by run


def decay_as_schedule(
    seeds: int = 3, *, rate: float = 0.1, decay: float = 0.1, steps: int = 150, eps: float = 0.0
) -> Decay:
    """Two trainings in float64 that look unlike: decay of the hidden weights, or a rate that rises instead.

    Everything but the hidden weights steps at `rate`, undecayed. Both take 128 fixed rows as their batch.
    """
    _, _, generators, part = columns([(0.0, 1.0, seed) for seed in range(seeds)])
    x, y = part.x_train[:, :128].astype("float64"), part.y_train[:, :128]
    a = b = mlp_numpy.init(_sizes(2), generators, batch_norm=True, dtype="float64")
    hidden, kept = {"W1", "W2"}, 1 - rate * decay
    rates = rate * kept ** -(2.0 * np.arange(steps) + 1)
    losses, lengths = ([], []), {"decayed": [], "scheduled": []}

    def norm(z, gamma, beta):
        return whole_batch(z, gamma, beta, eps=eps)

    for now in rates:
        for result, length, params in zip(losses, lengths.values(), (a, b), strict=True):
            length.append(np.linalg.norm(_flat(params, hidden), axis=1))
            result.append(gradients(params, x, y, norm))
        a = {n: (kept if n in hidden else 1) * v - rate * losses[0][-1][1][n] for n, v in a.items()}
        b = {n: v - (now if n in hidden else rate) * losses[1][-1][1][n] for n, v in b.items()}
    decayed, scheduled = (np.array([loss for loss, _ in run]) for run in losses)
    return Decay(decayed, scheduled, rates, {name: np.array(length) for name, length in lengths.items()})


class Ghosts(NamedTuple):
    """Ghost batch norm at one size of group; (rates, seeds)."""

    loss: np.ndarray  # on digits that were not trained on, with precise statistics, nats
    train_loss: np.ndarray  # on the training rows, the same way
    reliance: np.ndarray  # how much the loss rises without the one last hidden unit whose loss hurts most


def ghosts(
    rates: Sequence[float], sizes: Sequence[int], seeds: int = 10, *, rows: int = 256, steps: int = 80
) -> dict[int, Ghosts]:
    """Gradient descent on all of `rows` training digits, normalised in shuffled groups of each size.

    Every step uses every row, so the grouping is the only noise there is.
    """
    runs = [(rate, 1.0, seed) for rate in rates for seed in range(seeds)]

    def of(size):
        lr, _, generators, part = columns(runs)
        x, y, model = part.x_train[:, :rows], part.y_train[:, :rows], np.arange(len(runs))[:, None]
        params, optimizer = mlp_numpy.init(_sizes(2), generators, batch_norm=True), opt_numpy.sgd(lr)

        def norm(z, gamma, beta):
            return variants.ghost_batch_norm(z, gamma, beta, group_size=size)

        for _ in range(steps):
            order = np.stack([rng.permutation(rows) for rng in generators])
            _, grads = gradients(params, x[model, order], y[model, order], norm)
            params, _ = optimizer.step(params, grads, optimizer.init(params))
        running = mlp_numpy.precise_running(params, x)
        unseen = [np.concatenate(pair, axis=1) for pair in zip(part[2:4], part[4:6], strict=True)]
        loss, reliance = _reliance(params, *unseen, running)
        train_loss, _ = mlp_numpy.evaluate(params, x, y, running)
        return Ghosts(*(np.reshape(a, (len(rates), seeds)) for a in (loss, train_loss, reliance)))

    return dict(zip(sizes, parallel(of, sizes), strict=True))


def statistics_noise(sizes: Sequence[int], *, draws_of: int = 400) -> np.ndarray:
    """How much the mean of a first-layer unit varies from batch to batch, in its standard deviations; (sizes,)."""
    x, rng = data.digits(0).x_train, np.random.default_rng(0)
    z = x @ mlp_numpy.init(_sizes(1), np.random.default_rng(0))["W1"]
    means = (
        np.stack([z[rng.choice(len(z), size, replace=False)].mean(axis=0) for _ in range(draws_of)])
        for size in sizes
    )
    return np.array([(mean.std(axis=0) / z.std(axis=0)).mean() for mean in means])


SHIFTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda x: x,
    "contrast × 0.5": lambda x: 0.5 * x,
    "contrast × 0.25": lambda x: 0.25 * x,
    "brightness + 0.6": lambda x: x + 0.6,
    "× 0.5, + 0.5": lambda x: 0.5 * x + 0.5,
    "noise 0.3": lambda x: x + 0.3 * np.random.default_rng(0).standard_normal(x.shape).astype(x.dtype),
    "inverted": lambda x: 1 - x,
}


def input_shift(readers: dict[str, tuple[Params, Norm | None]], seeds: int) -> dict[str, np.ndarray]:
    """Test accuracy (shifts, seeds) of every reader when the test digits are altered as in `SHIFTS`.

    A reader is its parameters and its normalisation; None normalises by precise statistics of the training digits.
    """
    _, _, _, part = columns([(0.0, 1.0, seed) for seed in range(seeds)])
    result = {}
    for name, (params, norm) in readers.items():
        running = mlp_numpy.precise_running(params, part.x_train)
        seen = []
        for shift in SHIFTS.values():
            x = shift(part.x_test)
            logits = mlp_numpy.forward(params, x, running)[0] if norm is None else forward(params, x, norm)[0]
            seen.append((logits.argmax(axis=-1) == part.y_test).mean(axis=-1))
        result[name] = np.array(seen)
    return result


def depth(seeds: int = 5, *, hidden: int = 50) -> dict[str, np.ndarray]:
    """The length of the gradient in every hidden layer's weights at the start, (hidden, seeds), four networks."""
    _, _, _, part = columns([(0.0, 1.0, seed) for seed in range(seeds)])
    x, y, result = part.x_train[:, :128], part.y_train[:, :128], {}
    for name in ("plain", "batch norm", "layer norm", "batch norm, skip"):
        generators = [np.random.default_rng(seed) for seed in range(seeds)]
        params = mlp_numpy.init(_sizes(hidden), generators, batch_norm=name != "plain")
        if name == "batch norm, skip":
            grads = residual_gradients(params, x, y)
        else:
            _, grads = gradients(params, x, y, layer_normalised if name == "layer norm" else whole_batch)
        result[name] = np.array([np.linalg.norm(grads[f"W{i}"], axis=(1, 2)) for i in range(1, hidden + 1)])
    return result


def residual_gradients(params: Params, x: np.ndarray, y: np.ndarray) -> Params:
    """The gradients in the weights of a network of residual blocks, h + max(BN(h), 0) @ W, behind one dense layer."""
    last, seen, h = layers(params), {}, x @ params["W1"]
    for i in range(2, last):
        z, cache = whole_batch(h, params[f"gamma{i}"], params[f"beta{i}"])
        seen[i] = np.maximum(z, 0), cache
        h = h + seen[i][0] @ params[f"W{i}"]
    logits = h @ params[f"W{last}"] + params[f"b{last}"]
    dh = (
        cross_entropy_backward(logits, y, reduction="sum")
        / y.shape[-1]
        @ np.matrix_transpose(params[f"W{last}"])
    )
    grads = {}
    for i in range(last - 1, 1, -1):
        a, cache = seen[i]
        grads[f"W{i}"] = np.matrix_transpose(a) @ dh
        dz, _, _ = variants.backward(dh @ np.matrix_transpose(params[f"W{i}"]) * (a > 0), cache)
        dh = dh + dz
    return {**grads, "W1": np.matrix_transpose(x) @ dh}


def _sizes(hidden: int) -> tuple[int, ...]:
    return FEATURES, *hidden * [WIDTH], CLASSES


def _score(params: Params, part: data.Split, norm: Norm) -> np.ndarray:
    """The loss of each model on all its training rows as one batch; GUESSING where it is no better than that."""
    logits, _ = forward(params, part.x_train, norm)
    loss = cross_entropy(logits, part.y_train, reduction="none").mean(axis=-1)
    return np.where(loss < GUESSING, loss, GUESSING)


def _reliance(params: Params, x: np.ndarray, y: np.ndarray, running: Any) -> tuple[np.ndarray, np.ndarray]:
    """The loss, and by how much it rises at most when one last hidden unit is fixed at its mean."""
    logits, _, seen = mlp_numpy.forward(params, x, running)
    h, W = seen[-1].h, params[f"W{layers(params)}"]
    away = h - h.mean(axis=1, keepdims=True)
    loss = cross_entropy(logits, y, reduction="none").mean(axis=-1)
    without = (logits - away[..., u, None] * W[:, u, None, :] for u in range(W.shape[1]))
    losses = [cross_entropy(z, y, reduction="none").mean(axis=-1) for z in without]
    return loss, np.max(losses, axis=0) - loss


def _flat(arrays: Params, names: Any) -> np.ndarray:
    """The arrays called `names`, in order of name, as one row for each model."""
    return np.concatenate([arrays[name].reshape(len(arrays[name]), -1) for name in sorted(names)], axis=1)


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
