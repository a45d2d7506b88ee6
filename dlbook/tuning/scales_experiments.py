"""The experiments of the chapter on scales: seeds and settings in, plain arrays out.

Between seeds vary the split of the digits, the first weights and the order of the batches; between replays of a
search the configurations that it drew.
"""

from typing import NamedTuple

import numpy as np

from dlbook import data
from dlbook.mlp import numpy as mlp_numpy
from dlbook.optimizers import numpy as opt_numpy
from dlbook.parallel import parallel
from dlbook.tuning.scales import Log, OneMinusLog, Scale

SIZES, STEPS, BATCH = (64, 32, 10), 200, 64


def train(optimizer, shape: tuple[int, ...], seeds: int, *, steps: int = STEPS) -> np.ndarray:
    """Validation cross-entropy of small readers, (*shape, seeds), one for each setting and seed, trained at once.

    `optimizer(repeat)` makes the optimiser; `repeat(a)` lays one number a setting, an array of `shape`, out over the
    population. A run that ends in NaN, or above the loss of guessing, counts as log 10.
    """
    parts = [data.digits(seed) for seed in range(seeds)]
    settings = int(np.prod(shape))
    own = np.tile(np.arange(seeds), settings)

    def repeat(a):
        return np.repeat(np.broadcast_to(a, shape).ravel(), seeds)[:, None, None]

    starts = [mlp_numpy.init(SIZES, np.random.default_rng([seed, 0])) for seed in range(seeds)]
    params = {name: np.stack([starts[seed][name] for seed in own]) for name in starts[0]}
    x, y, x_val, y_val = (
        np.stack([getattr(part, name) for part in parts])[own]
        for name in ("x_train", "y_train", "x_val", "y_val")
    )
    orders = [np.random.default_rng([seed, 1]) for seed in own]
    fit = mlp_numpy.fit(params, x, y, optimizer=optimizer(repeat), steps=steps, batch_size=BATCH, rng=orders)
    loss, _ = mlp_numpy.evaluate(fit.params, x_val, y_val)
    guessing = np.log(SIZES[-1])
    return np.where(loss <= guessing, loss, guessing).reshape(*shape, seeds)


def over_rates(optimizer: str, rates: np.ndarray, *, seeds: int = 5) -> np.ndarray:
    """Validation cross-entropy against the learning rate, (rates, seeds), for "sgd" or "adam"."""
    make = {"sgd": opt_numpy.sgd, "adam": opt_numpy.adam}[optimizer]

    def over(some):
        return train(lambda repeat: make(repeat(some)), some.shape, seeds)

    return np.concatenate(parallel(over, np.array_split(rates, 2)))


class Race(NamedTuple):
    """Best of n trials, replayed many times, on a log and on a linear scale; (replays,) each."""

    log: np.ndarray
    linear: np.ndarray


def best_of(
    rates: np.ndarray, loss: np.ndarray, scales: tuple[Scale, Scale], n: int, *, replays: int = 4000
) -> Race:
    """Searches of `n` trials on a measured curve `loss` (rates, seeds), between whose points it is interpolated.

    A replay reads one seed's curve; the seeds take turns. The same random numbers go through both scales.
    """
    u = np.random.default_rng(0).random((replays, n))
    results = []
    for scale in scales:
        drawn = np.log(_values(scale, u))
        curves = [np.interp(drawn, np.log(rates), curve) for curve in loss.T]
        turns = np.arange(replays) % len(curves)
        results.append(np.stack(curves)[turns, np.arange(replays)].min(axis=-1))
    return Race(*results)


def _values(scale: Scale, u: np.ndarray) -> np.ndarray:
    """`scale.value` in floats: its 30 digits would take minutes here, and nothing is stored that needs them."""
    low, high = scale.low, scale.high
    return low * (high / low) ** u if isinstance(scale, Log) else low + u * (high - low)


def averages(betas: tuple[float, ...], signal: np.ndarray) -> np.ndarray:
    """Exponential moving averages of `signal` (t,), each started at its first value: (betas, t)."""
    out = np.empty((len(betas), len(signal)))
    out[:, 0] = signal[0]
    keep = np.array(betas)
    for t in range(1, len(signal)):
        out[:, t] = keep * out[:, t - 1] + (1 - keep) * signal[t]
    return out


def steps_and_noise(seed: int, *, length: int = 6000, noise: float = 0.5) -> np.ndarray:
    """A signal that jumps between 0 and 1 every 1500 steps, in normal noise: (length,)."""
    level = (np.arange(length) // 1500) % 2
    return level + noise * np.random.default_rng(seed).standard_normal(length)


class Window(NamedTuple):
    """What it means to average with weight beta kept."""

    time_constant: float  # 1 / (1 - beta) steps
    half_life: float  # after how many steps a value counts half
    share: float  # of the weight, on the last 1 / (1 - beta) values
    sample_size: float  # a plain mean of so many values has the same variance


def window(beta: float) -> Window:
    """The four sizes of the window of an exponential moving average."""
    constant = 1 / (1 - beta)
    half_life = float(np.log(0.5) / np.log(beta))
    return Window(constant, half_life, 1 - beta**constant, (1 + beta) / (1 - beta))


class Ridge(NamedTuple):
    """Validation cross-entropy over learning rate and momentum, (betas, rates, seeds), in two forms of momentum."""

    rates: np.ndarray
    betas: np.ndarray
    averaged: np.ndarray  # v = beta v + (1 - beta) g, the lecture's
    accumulated: np.ndarray  # v = beta v + g, PyTorch's


def ridge(*, per_decade: int = 3, seeds: int = 3) -> Ridge:
    """Momentum at rates from 0.001 to 10 and beta from 0 to 0.99, both with `per_decade` steps to a factor of ten.

    Both are trained in the averaged form, at rates up to 1000: the accumulated form is that at rate / (1 - beta), and
    the even steps make this another rate of the grid.
    """
    rates, kept = np.geomspace(1e-3, 1e3, 6 * per_decade + 1), 4 * per_decade + 1
    betas = OneMinusLog(0, 0.99).value(np.linspace(0, 1, 2 * per_decade + 1))

    def over(beta):
        return train(lambda repeat: opt_numpy.momentum(repeat(rates), beta), rates.shape, seeds)

    loss = parallel(over, betas)
    averaged = np.array([row[:kept] for row in loss])
    accumulated = np.array([row[k : k + kept] for k, row in enumerate(loss)])
    return Ridge(rates[:kept], betas, averaged, accumulated)


def best_rates(rates: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """The rate with the smallest loss for each beta and seed, (betas, seeds); a parabola in log lr refines it."""
    at = np.log10(rates)
    k = np.clip(loss.argmin(axis=1), 1, len(rates) - 2)
    left, mid, right = (np.take_along_axis(loss, (k + d)[:, None], axis=1)[:, 0] for d in (-1, 0, 1))
    bend = left - 2 * mid + right
    shift = np.where(bend > 0, 0.5 * (left - right) / np.where(bend > 0, bend, 1), 0)
    return 10 ** (at[k] + np.clip(shift, -1, 1) * (at[1] - at[0]))


def slope(betas: np.ndarray, best: np.ndarray) -> np.ndarray:
    """By how many powers of ten the best rate moves while 1 - beta moves by one: (seeds,)."""
    return np.polyfit(np.log10(1 - betas), np.log10(best), 1)[0]
