"""The experiments of the chapter on test-time batch norm: seeds and settings in, plain arrays out.

The digit reader has three hidden layers of 64 units with batch norm. Its seeds are trained side by side as one
population; what varies between them is the split of the data, the first weights and the order of the mini-batches.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from dlbook import data
from dlbook.batch_norm import Running
from dlbook.mlp import Params, RunningStatistics, draws
from dlbook.mlp import numpy as mlp_numpy
from dlbook.optimizers import numpy as opt_numpy

SIZES = (64, 64, 64, 64, 10)
BATCH, EPOCH = 64, 17  # the 1078 training digits make 17 mini-batches
RATE, EPS = 0.1, 1e-3  # eps is Keras' default
RECORDED = tuple(EPOCH * epochs for epochs in (1, 2, 3, 5, 7, 10, 15, 20, 30))


def digits(seeds: Sequence[int]) -> data.Split:
    """One split of the digits a seed, stacked: x (seeds, n, 64), y (seeds, n)."""
    return data.Split(*map(np.stack, zip(*map(data.digits, seeds), strict=True)))


class Training(NamedTuple):
    """Digit readers on their way, a leading axis of seeds everywhere."""

    split: data.Split
    params: dict[int, Params]  # after each recorded step
    batches: dict[int, Running]  # of each layer the statistics of every mini-batch, (steps, seeds, 1, units)


def train(seeds: int = 5, *, at: Sequence[int] = RECORDED) -> Training:
    """Gradient descent on mini-batches, which never looks at a running average: it is not needed to train."""
    split, rngs = digits(range(seeds)), [np.random.default_rng(seed) for seed in range(seeds)]
    params = mlp_numpy.init(SIZES, rngs, batch_norm=True)
    descent, kept, seen = opt_numpy.sgd(RATE), {}, []
    state = descent.init(params)
    order = draws.batches(split.x_train.shape[1], BATCH, rngs, max(at))
    for step, rows in enumerate(order, start=1):
        x, y = take(split.x_train, rows), take(split.y_train, rows)
        _, gradients, of_this_batch = mlp_numpy.loss_and_gradients(params, x, y, eps=EPS)
        params, state = descent.step(params, gradients, state)
        seen.append(of_this_batch)
        if step in at:
            kept[step] = params
    return Training(
        split, kept, {i: Running(*map(np.stack, zip(*(s[i] for s in seen), strict=True))) for i in seen[0]}
    )


def take(a: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The `rows` (models, batch) of each model's own array `a` (models, n, ...)."""
    return a[np.arange(len(rows))[:, None], rows]


# --- many ways to average -----------------------------------------------------------------------------------------


def running_average(t: int, decay: float) -> np.ndarray:
    """The weights of batches 1 to t in a running average; what they lack of 1 is the weight of its start."""
    return (1 - decay) * decay ** np.arange(t - 1, -1, -1.0)


def corrected(t: int, decay: float) -> np.ndarray:
    """The same with the start taken out, so that the weights sum to 1."""
    return running_average(t, decay) / (1 - decay**t)


def plain_mean(t: int) -> np.ndarray:
    """The same weight for every batch since the beginning."""
    return np.full(t, 1 / t)


def last(t: int, n: int) -> np.ndarray:
    """The same weight for the last n batches."""
    return np.where(np.arange(t) >= t - n, 1 / min(n, t), 0.0)


WAYS: dict[str, Callable[[int], np.ndarray]] = {
    "last batch": partial(last, n=1),
    "mean of all batches": plain_mean,
    "mean of the last epoch": partial(last, n=EPOCH),
    "decay 0.9": partial(running_average, decay=0.9),
    "decay 0.99": partial(running_average, decay=0.99),
    "decay 0.99, corrected": partial(corrected, decay=0.99),
}


def estimate(batches: dict[int, Running], weights: np.ndarray) -> RunningStatistics:
    """The weighted average of the first batches' statistics; a start at mean 0 and variance 1 has the rest."""
    weights, rest = weights.astype("float32"), float(1 - weights.sum())
    mean, var = (
        {i: np.tensordot(weights, s[k][: len(weights)], axes=1) for i, s in batches.items()} for k in (0, 1)
    )
    return {i: Running(mean[i], var[i] + np.float32(rest)) for i in batches}


class Comparison(NamedTuple):
    """Ways to estimate the statistics, on the same networks; every array is (records, seeds)."""

    steps: np.ndarray  # (records,)
    error: dict[str, np.ndarray]  # of the means, in standard deviations, root mean square over all units
    loss: dict[str, np.ndarray]  # on the validation digits, nats; also for "precise"
    accuracy: dict[str, np.ndarray]


def compare(training: Training, ways: Mapping[str, Callable[[int], np.ndarray]] = WAYS) -> Comparison:
    """Each way against precise statistics, at every recorded step."""
    split, rows = training.split, []
    for step, params in training.params.items():
        precise = mlp_numpy.precise_running(params, split.x_train, eps=EPS)
        kept = {name: estimate(training.batches, weights(step)) for name, weights in ways.items()}
        errors = {name: distance(running, precise) for name, running in kept.items()}
        scores = {
            name: mlp_numpy.evaluate(params, split.x_val, split.y_val, running, eps=EPS)
            for name, running in {**kept, "precise": precise}.items()
        }
        rows.append((errors, *({name: s[k] for name, s in scores.items()} for k in (0, 1))))
    columns = [
        {name: np.array([row[name] for row in column]) for name in column[0]}
        for column in zip(*rows, strict=True)
    ]
    return Comparison(np.array(list(training.params)), *columns)


def distance(running: RunningStatistics, precise: RunningStatistics) -> np.ndarray:
    """How far the means lie apart, in standard deviations of each unit: root mean square over units, (seeds,)."""
    squares = [(running[i].mean - precise[i].mean) ** 2 / precise[i].var for i in precise]
    return np.sqrt(np.mean(np.concatenate(squares, axis=-1), axis=(-2, -1)))


# --- one digit among others ---------------------------------------------------------------------------------------


def together(params: Params, x: np.ndarray, size: int) -> np.ndarray:
    """The answers of a reader left in training mode that gets its digits `size` at a time: (seeds, n)."""
    parts = [x[..., start : start + size, :] for start in range(0, x.shape[-2], size)]
    logits = [mlp_numpy.forward(params, part, training=True, eps=EPS)[0] for part in parts]
    return np.concatenate(logits, axis=-2).argmax(axis=-1)


def neighbours(params: Params, split: data.Split, sizes: Sequence[int]) -> dict[str, np.ndarray]:
    """Test accuracy in training mode against the number of digits read together, (sizes, seeds).

    "shuffled" is the order of the split, which is random; "sorted" reads all zeros first, then all ones.
    """
    by_class = np.argsort(split.y_test, axis=1, kind="stable")
    as_drawn = np.broadcast_to(np.arange(by_class.shape[1]), by_class.shape)
    accuracy = {}
    for order, rows in {"shuffled": as_drawn, "sorted": by_class}.items():
        x, y = take(split.x_test, rows), take(split.y_test, rows)
        accuracy[order] = np.array([np.mean(together(params, x, size) == y, axis=1) for size in sizes])
    return accuracy


def companions(params: Params, x: np.ndarray, digit: int, size: int, repeats: int = 200) -> np.ndarray:
    """How often each class is the answer to x[digit] among `size - 1` random others of x: (classes,) counts."""
    rng, others = np.random.default_rng(0), np.delete(np.arange(len(x)), digit)
    rows = [np.append(digit, rng.choice(others, size - 1, replace=False)) for _ in range(repeats)]
    answers = [together(params, x[r], size)[0] for r in rows]
    return np.bincount(answers, minlength=SIZES[-1])


def one(params: Params, running: RunningStatistics, k: int) -> tuple[Params, RunningStatistics]:
    """Reader number k of a population, as a network of its own."""
    return {name: a[k] for name, a in params.items()}, {
        i: Running(*(a[k] for a in r)) for i, r in running.items()
    }


# --- how many examples --------------------------------------------------------------------------------------------


class Sample(NamedTuple):
    """Precise statistics from a part of the training digits, (sizes, draws, seeds), on the test digits."""

    loss: np.ndarray  # above that with all training digits, nats
    accuracy: np.ndarray
    reference: np.ndarray  # (seeds,), the accuracy with all of them


def examples_needed(params: Params, split: data.Split, sizes: Sequence[int], repeats: int = 5) -> Sample:
    """How good the statistics of `size` random training digits are, drawn anew `repeats` times."""

    def score(x):
        running = mlp_numpy.precise_running(params, x, eps=EPS)
        return mlp_numpy.evaluate(params, split.x_test, split.y_test, running, eps=EPS)

    loss, accuracy = score(split.x_train)
    scores = []
    for size in sizes:
        for repeat in range(repeats):
            rng = np.random.default_rng(repeat)
            scores.append(
                score(
                    take(
                        split.x_train,
                        np.stack([rng.permutation(split.x_train.shape[1])[:size] for _ in accuracy]),
                    )
                )
            )
    losses, accuracies = (
        np.array(part).reshape(len(sizes), repeats, -1) for part in zip(*scores, strict=True)
    )
    return Sample(losses - loss, accuracies, accuracy)


class SmallBatches(NamedTuple):
    """Test accuracy against the size of the mini-batch in training; each arm (sizes, seeds)."""

    sizes: np.ndarray
    accuracy: dict[str, np.ndarray]
    rate: dict[str, np.ndarray]  # (sizes,), the learning rates chosen for "batch norm" and "no batch norm"


RATES = (0.004, 0.016, 0.063, 0.25, 1.0, 4.0)


def small_batches(
    sizes: Sequence[int] = (2, 4, 16, 64), seeds: int = 5, *, epochs: int = 2, rates: Sequence[float] = RATES
) -> SmallBatches:
    """Train with and without batch norm for the same number of epochs, at each size of the mini-batch.

    The learning rate is chosen at each size for each arm, by the median over seeds of the validation loss (batch norm
    with precise statistics). "batch" is the accuracy in training mode, the test digits in batches of the same size.
    """
    split = digits(range(seeds))
    results = [_at_size(split, size, epochs, rates) for size in sizes]
    accuracy, rate = (
        {name: np.array([r[k][name] for r in results]) for name in results[0][k]} for k in (0, 1)
    )
    return SmallBatches(np.array(sizes), accuracy, rate)


def _at_size(split: data.Split, size: int, epochs: int, rates: Sequence[float]) -> tuple[dict, dict]:
    seeds = len(split.x_train)
    models = np.tile(np.arange(seeds), len(rates))
    split, rate = data.Split(*(a[models] for a in split)), np.repeat(rates, seeds)[:, None, None]
    steps = epochs * len(split.y_train[0]) // size
    accuracy, chosen = {}, {}
    for batch_norm in (True, False):
        rngs = [np.random.default_rng(seed) for seed in models]
        params = mlp_numpy.init(SIZES, rngs, batch_norm=batch_norm)
        averages = {decay: mlp_numpy.init_running(params) for decay in (0.9, 0.99)}
        descent = opt_numpy.sgd(rate)
        state = descent.init(params)
        for rows in draws.batches(split.x_train.shape[1], size, rngs, steps):
            x, y = take(split.x_train, rows), take(split.y_train, rows)
            _, gradients, seen = mlp_numpy.loss_and_gradients(params, x, y, eps=EPS)
            params, state = descent.step(params, gradients, state)
            averages = {decay: _average(running, seen, decay) for decay, running in averages.items()}
        precise = mlp_numpy.precise_running(params, split.x_train, eps=EPS)
        best = _best(mlp_numpy.evaluate(params, split.x_val, split.y_val, precise, eps=EPS)[0], len(rates))
        arm, pick = "batch norm" if batch_norm else "no batch norm", slice(best * seeds, (best + 1) * seeds)
        chosen[arm] = rates[best]
        kept, test = {name: a[pick] for name, a in params.items()}, (split.x_test[pick], split.y_test[pick])
        if batch_norm:
            accuracy["batch"] = np.mean(together(kept, test[0], size) == test[1], axis=1)
        running = (
            {"precise": precise, "decay 0.9": averages[0.9], "decay 0.99": averages[0.99]}
            if batch_norm
            else {arm: {}}
        )
        for name, statistics in running.items():
            statistics = {i: Running(*(a[pick] for a in s)) for i, s in statistics.items()}
            accuracy[name] = mlp_numpy.evaluate(kept, *test, statistics, eps=EPS)[1]
    return accuracy, chosen


def _average(running: RunningStatistics, seen: RunningStatistics, decay: float) -> RunningStatistics:
    return {
        i: Running(*(decay * old + (1 - decay) * new for old, new in zip(running[i], seen[i], strict=True)))
        for i in running
    }


def _best(loss: np.ndarray, rates: int) -> int:
    """The number of the learning rate with the smallest median loss; a diverged one is never best."""
    return int(np.argmin(np.nan_to_num(np.median(loss.reshape(rates, -1), axis=1), nan=np.inf)))


# --- time ---------------------------------------------------------------------------------------------------------


def stopwatch(functions: Mapping[str, Callable[[], Any]], repeats: int = 200) -> dict[str, np.ndarray]:
    """Microseconds of each call, (repeats,); the functions take turns, so a busy moment hits them all."""
    taken = {name: [] for name in functions}
    for turn in range(repeats + 5):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if turn >= 5:  # the first calls warm up
                taken[name].append(1e6 * (time.perf_counter() - start))
    return {name: np.array(values) for name, values in taken.items()}
