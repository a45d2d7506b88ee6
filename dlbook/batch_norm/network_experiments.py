"""The experiments of the chapter on fitting batch norm into a network: seeds and settings in, plain arrays out.

All networks read the digits. What varies between seeds is the split, the first weights and the order of the
mini-batches; the arms of a comparison share all three. Networks that differ in a setting or a seed are trained
side by side, as one population.
"""

import copy
import functools
import itertools
from collections.abc import Callable, Sequence
from math import log
from typing import Any, NamedTuple

import numpy as np

from dlbook import data
from dlbook.batch_norm.numpy import batch_norm_backward, batch_norm_test, batch_norm_train
from dlbook.mlp import Params, draws
from dlbook.mlp import numpy as mlp_numpy
from dlbook.mlp.arguments import layers
from dlbook.optimizers import Optimizer
from dlbook.optimizers import numpy as opt_numpy
from dlbook.parallel import parallel
from dlbook.softmax.numpy import cross_entropy, cross_entropy_backward

FEATURES, CLASSES = 64, 10
WIDTH, DEEP_WIDTH = 32, 64  # units in a hidden layer, of the reader with two of them and of the one with five
BATCH, STEPS = 64, 170  # ten epochs of 17 mini-batches
TOGETHER = 30  # networks in one population: as many as a processor's cache holds
GUESSING = log(CLASSES)  # the loss of a network that gives every digit the same probability

Setting = tuple[float, float]  # the learning rate, and what the hidden weights are multiplied by at the start


class Grid(NamedTuple):
    """How training ended, on the validation part: one row a setting, one column a seed."""

    loss: np.ndarray  # nats; GUESSING for a run that ended no better than that
    accuracy: np.ndarray  # in [0, 1]; 0 for a run that ended in NaN
    failed: np.ndarray  # True for a run that ended no better than guessing


def grid(loss: Any, accuracy: Any, shape: tuple[int, int]) -> Grid:
    """A `Grid` of that shape, (settings, seeds), from the last loss and accuracy of every run."""
    loss, accuracy = np.reshape(loss, shape), np.reshape(accuracy, shape)
    failed = ~(loss < GUESSING)
    return Grid(np.where(failed, GUESSING, loss), accuracy, failed)


def sweep(
    settings: Sequence[Setting],
    seeds: int,
    *,
    hidden: int,
    width: int = DEEP_WIDTH,
    batch_norm: bool,
    optimizer: Callable[[Any], Optimizer] = opt_numpy.sgd,
    compensate: bool = False,
    prepare: Callable[[Params], Params] = lambda params: params,
) -> Grid:
    """Train a network with `hidden` layers of `width` ReLUs for every setting and seed, ten epochs each.

    With `compensate`, hidden weights that start s times larger take steps s squared times larger. `prepare` may
    change the first parameters of a population, whose arrays have a leading axis of models.
    """
    hidden_weights = [f"W{i}" for i in range(1, hidden + 1)]
    runs = [(*setting, seed) for setting in settings for seed in range(seeds)]

    def ends(some):
        rates, scales, generators, part = columns(some)
        params = mlp_numpy.init((FEATURES, *hidden * [width], CLASSES), generators, batch_norm=batch_norm)
        params |= {name: params[name] * scales.astype("float32") for name in hidden_weights}
        steps = optimizer(rates)
        if compensate:
            steps = _larger_steps(steps, hidden_weights, scales.astype("float32") ** 2)
        trained = mlp_numpy.fit(
            prepare(params),
            part.x_train,
            part.y_train,
            optimizer=steps,
            steps=STEPS,
            batch_size=BATCH,
            rng=generators,
        ).params
        statistics = None
        if batch_norm:  # over all training rows
            _, statistics, _ = mlp_numpy.forward(trained, part.x_train, training=True)
        return mlp_numpy.evaluate(trained, part.x_val, part.y_val, statistics)

    return in_populations(ends, runs, (len(settings), seeds))


def in_populations(ends: Callable[[Sequence], tuple], runs: Sequence, shape: tuple[int, int]) -> Grid:
    """The `Grid` of (settings, seeds) from `ends(some)`, the last losses and accuracies of some of the runs.

    One population of at most `TOGETHER`, or an even number of them, alike in size: two cores have the same to do.
    """
    pieces = 1 if len(runs) <= TOGETHER else 2 * -(-len(runs) // (2 * TOGETHER))
    size = -(-len(runs) // pieces)
    some = (runs[start : start + size] for start in range(0, len(runs), size))
    return grid(*map(np.concatenate, zip(*parallel(ends, some), strict=True)), shape)


@functools.cache
def digits(seed: int) -> data.Split:
    """The digits split by `seed`, read from the disk once."""
    return data.digits(seed)


def columns(runs: Sequence[tuple[float, float, int]]) -> tuple:
    """Of runs (rate, scale, seed): both settings as (K, 1, 1), a generator each, and their digits, stacked."""
    rates, scales, seeds = zip(*runs, strict=True)
    part = data.Split(*map(np.stack, zip(*map(digits, seeds), strict=True)))
    columns = (np.reshape(values, (-1, 1, 1)) for values in (rates, scales))
    return *columns, [np.random.default_rng(seed) for seed in seeds], part


def learning_rates(rates: Sequence[float], seeds: int = 5, *, hidden: int = 5) -> dict[str, Grid]:
    """A plain and a normalised network at every learning rate."""
    settings = [(rate, 1.0) for rate in rates]
    return {
        name: sweep(settings, seeds, hidden=hidden, batch_norm=name == "batch norm")
        for name in ("plain", "batch norm")
    }


def optimisers(
    rates: dict[str, Sequence[float]], seeds: int = 5, *, hidden: int = 2
) -> dict[str, dict[str, Grid]]:
    """Both networks with each optimiser of `rates`, at every learning rate listed for it."""

    def one(name: str, arm: str) -> Grid:
        return sweep(
            [(rate, 1.0) for rate in rates[name]],
            seeds,
            hidden=hidden,
            width=WIDTH,
            batch_norm=arm == "batch norm",
            optimizer=getattr(opt_numpy, name),
        )

    arms = list(itertools.product(rates, ("plain", "batch norm")))
    grids = dict(zip(arms, parallel(one, *zip(*arms, strict=True)), strict=True))
    return {name: {arm: grids[name, arm] for arm in ("plain", "batch norm")} for name in rates}


class Starts(NamedTuple):
    """What becomes of first weights that are `scales` times He's; every grid has a row for each scale."""

    plain: Grid  # at the common learning rate
    tuned: Grid  # plain, at the learning rate with the best mean accuracy for its scale
    batch_norm: Grid  # at the common learning rate
    compensated: Grid  # batch norm, the hidden weights' learning rate multiplied by scale squared


def initialisations(
    scales: Sequence[float], rates: Sequence[float], seeds: int = 3, *, rate: float = 0.1, hidden: int = 5
) -> Starts:
    """Train from scaled first weights at `rate`, one of `rates`; the plain network also gets the best of these."""
    same = [(rate, scale) for scale in scales]
    every = [(other, scale) for scale in scales for other in rates]
    tried = sweep(every, seeds, hidden=hidden, batch_norm=False)
    tried = Grid(*(values.reshape(len(scales), len(rates), -1) for values in tried))
    best = tried.accuracy.mean(axis=2).argmax(axis=1)
    plain, tuned = (
        Grid(*(values[np.arange(len(scales)), which] for values in tried))
        for which in (list(rates).index(rate), best)
    )
    normalised = functools.partial(sweep, same, seeds, hidden=hidden, batch_norm=True)
    return Starts(
        plain, tuned, *parallel(lambda compensate: normalised(compensate=compensate), (False, True))
    )


def _larger_steps(optimizer: Optimizer, names: Sequence[str], factor: np.ndarray) -> Optimizer:
    """Gradient descent that takes steps `factor` times larger in the parameters called `names`."""

    def step(params, grads, state):
        return optimizer.step(params, {n: g * factor if n in names else g for n, g in grads.items()}, state)

    return Optimizer(optimizer.init, step)


class Place(NamedTuple):
    """What one layer of `forward_placed` saw: its input, `h @ W + b`, what entered and left batch norm."""

    h: Any
    z: Any
    y: Any
    cache: Any
    statistics: Any


def forward_placed(
    params: Params, x: np.ndarray, *, after: bool = False, statistics: Sequence[Any] | None = None
) -> tuple[np.ndarray, list[Place]]:
    """The logits of a network with batch norm before its ReLUs, or `after` them, and with a bias in every layer.

    Normalises by the batch, or by `statistics`, one `Running` for each hidden layer, when they are given.
    """
    h, seen, last = x, [], layers(params)
    for i in range(1, last):
        z = h @ params[f"W{i}"] + params[f"b{i}"]
        u, gamma, beta = np.maximum(z, 0) if after else z, params[f"gamma{i}"], params[f"beta{i}"]
        if statistics is None:
            y, running, cache = batch_norm_train(u, gamma, beta)
        else:
            y, running, cache = batch_norm_test(u, gamma, beta, statistics[i - 1]), statistics[i - 1], None
        seen.append(Place(h, z, y, cache, running))
        h = y if after else np.maximum(y, 0)
    return h @ params[f"W{last}"] + params[f"b{last}"], [*seen, Place(h, None, None, None, None)]


def gradients_placed(
    params: Params, x: np.ndarray, y: np.ndarray, *, after: bool = False
) -> tuple[Any, Params]:
    """The mean loss of each model on a mini-batch, and the gradients of their sum."""
    logits, seen = forward_placed(params, x, after=after)
    loss = cross_entropy(logits, y, reduction="none").mean(axis=-1)
    dz, grads = cross_entropy_backward(logits, y, reduction="sum") / y.shape[-1], {}
    for i in range(len(seen), 0, -1):
        layer = seen[i - 1]
        if layer.cache is not None:
            dy = dz if after else dz * (layer.y > 0)
            dz, grads[f"gamma{i}"], grads[f"beta{i}"] = batch_norm_backward(dy, layer.cache)
            dz = dz * (layer.z > 0) if after else dz
        grads[f"W{i}"] = np.matrix_transpose(layer.h) @ dz
        grads[f"b{i}"] = dz.sum(axis=-2, keepdims=True)
        if i > 1:  # the input of the first layer is data, and needs no gradient
            dz = dz @ np.matrix_transpose(params[f"W{i}"])
    return loss, {name: grads[name] for name in params}


class Trained(NamedTuple):
    """Networks that have a bias in front of batch norm, or behind it, after training."""

    params: Params
    loss: np.ndarray  # (steps, K), of the mini-batch before each step
    walk: np.ndarray  # (steps, K), the largest hidden bias after each step


def train_placed(
    params: Params,
    part: data.Split,
    generators: list,
    optimizer: Optimizer,
    *,
    after: bool = False,
    steps: int,
) -> Trained:
    """Train a population from `params` on the digits of `part`, whose arrays have a leading axis of models."""
    state, losses, walk = optimizer.init(params), [], []
    hidden = [f"b{i}" for i in range(1, layers(params))]
    for rows in draws.batches(part.x_train.shape[1], BATCH, generators, steps):
        model = np.arange(len(rows))[:, None]
        with np.errstate(all="ignore"):
            loss, grads = gradients_placed(
                params, part.x_train[model, rows], part.y_train[model, rows], after=after
            )
            params, state = optimizer.step(params, grads, state)
        losses.append(loss)
        walk.append(np.max([np.abs(params[name]).max(axis=(-2, -1)) for name in hidden], axis=0))
    return Trained(params, np.array(losses), np.array(walk))


def with_biases(params: Params) -> Params:
    """A copy of the parameters of a normalised network in which every hidden layer has a bias of zeros as well."""
    hidden = range(1, layers(params))
    return {**params, **{f"b{i}": np.zeros_like(params[f"beta{i}"]) for i in hidden}}


def placements(rates: Sequence[float], seeds: int = 12, *, hidden: int = 2) -> dict[str, Grid]:
    """Batch norm before and after the ReLU at every learning rate, everything else alike."""
    runs = [(rate, 1.0, seed) for rate in rates for seed in range(seeds)]
    sizes = (FEATURES, *hidden * [WIDTH], CLASSES)

    def ends(some, after):
        lr, _, generators, part = columns(some)
        params = with_biases(mlp_numpy.init(sizes, generators, batch_norm=True))
        params = train_placed(params, part, generators, opt_numpy.sgd(lr), after=after, steps=STEPS).params
        return evaluate_placed(params, part, after=after)

    return {
        name: in_populations(functools.partial(ends, after=name == "after"), runs, (len(rates), seeds))
        for name in ("before", "after")
    }


@np.errstate(all="ignore")
def evaluate_placed(
    params: Params, part: data.Split, *, after: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Loss and accuracy of each model on the validation part, normalised by the statistics of all training rows."""
    _, seen = forward_placed(params, part.x_train, after=after)
    statistics = [layer.statistics for layer in seen[:-1]]
    logits, _ = forward_placed(params, part.x_val, after=after, statistics=statistics)
    right = (logits.argmax(axis=-1) == part.y_val) & ~np.isnan(logits).any(axis=-1)
    return cross_entropy(logits, part.y_val, reduction="none").mean(axis=-1), right.mean(axis=-1)


class DeadBias(NamedTuple):
    """A network trained with a bias in front of each batch norm; (steps, seeds), by optimiser and dtype."""

    walk: dict[tuple[str, str], np.ndarray]  # the largest hidden bias after each step
    apart: dict[
        tuple[str, str], np.ndarray
    ]  # how far its loss is from that of the network without those biases


def dead_bias(
    optimizers: dict[str, Optimizer], seeds: int = 5, *, steps: int = 100, hidden: int = 2
) -> DeadBias:
    """Train with and without the redundant biases, from the same weights, in float32 and in float64."""
    walk, apart = {}, {}
    for name, dtype in itertools.product(optimizers, ("float32", "float64")):
        optimizer, sizes = optimizers[name], (FEATURES, *hidden * [WIDTH], CLASSES)
        *_, generators, part = columns([(0.0, 1.0, seed) for seed in range(seeds)])
        params = mlp_numpy.init(sizes, generators, batch_norm=True, dtype=dtype)
        part = part._replace(x_train=part.x_train.astype(dtype))
        orders = copy.deepcopy(generators), generators  # the same order of examples, twice
        trained = train_placed(with_biases(params), part, orders[0], optimizer, steps=steps)
        without = mlp_numpy.fit(
            params,
            part.x_train,
            part.y_train,
            optimizer=optimizer,
            steps=steps,
            batch_size=BATCH,
            rng=orders[1],
        )
        walk[name, dtype] = trained.walk
        apart[name, dtype] = np.abs(trained.loss - without.history.loss)
    return DeadBias(walk, apart)
