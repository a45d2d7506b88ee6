"""The experiments of the chapter on training a softmax classifier: seeds and settings in, plain arrays out.

Between seeds vary the split of the data, the first weights and the order of the examples. Populations of models train
side by side on a leading axis.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

from dlbook import data
from dlbook.mlp import numpy as mlp_numpy
from dlbook.optimizers import Optimizer
from dlbook.optimizers import numpy as opt_numpy
from dlbook.softmax.numpy import cross_entropy, cross_entropy_backward, log_softmax, softmax

# --- losses and their gradients in the logits, per example ----------------------------------------------------


def doubled(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Softmax twice: cross-entropy of probabilities mistaken for logits, per example, and its gradient in z."""
    return cross_entropy(softmax(z), y, reduction="none"), doubled_gradient(z, y)


def doubled_gradient(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    p = softmax(z)
    return through_softmax(p, crossed_gradient(p, y))


def squared(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The squared distance between the probabilities and one-hot labels, per example, and its gradient in z."""
    error = softmax(z) - np.eye(z.shape[-1])[y]
    return np.sum(error**2, axis=-1), squared_gradient(z, y)


def squared_gradient(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    p = softmax(z)
    return through_softmax(p, 2 * (p - np.eye(z.shape[-1])[y]))


def crossed(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cross-entropy from the logits, per example, and its gradient in z."""
    return cross_entropy(z, y, reduction="none"), crossed_gradient(z, y)


def crossed_gradient(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    return cross_entropy_backward(z, y, reduction="sum")


def through_softmax(p: np.ndarray, dp: np.ndarray) -> np.ndarray:
    """The gradient in z of what has the gradient `dp` in p = softmax(z): the Jacobian times `dp`, row by row."""
    return p * (dp - np.sum(p * dp, axis=-1, keepdims=True))


LOSSES = {"cross-entropy": crossed, "softmax twice": doubled, "squared error": squared}
GRADIENTS = {  # alone, for training, which looks at nothing else
    "cross-entropy": crossed_gradient,
    "softmax twice": doubled_gradient,
    "squared error": squared_gradient,
}
OPTIMIZERS = {"sgd": opt_numpy.sgd, "adam": opt_numpy.adam}


def floor(classes: int) -> float:
    """The smallest cross-entropy that probabilities mistaken for logits can reach: log(e + C - 1) - 1."""
    return float(np.log(np.e + classes - 1) - 1)


class Rates(NamedTuple):
    """Softmax regression on the digits against the learning rate; each (rates, seeds), after the last step."""

    accuracy: np.ndarray  # on the validation part
    loss: np.ndarray  # what was minimised, on the validation part; nats, or squared distance


def over_rates(
    loss: str,
    optimizer: str,
    rates: Sequence[float],
    *,
    seeds: int = 5,
    steps: int = 400,
    batch_size: int = 64,
) -> Rates:
    """Train softmax regression with `loss` at every rate and seed, all at once, and measure it."""
    parts = [data.digits(seed, dtype="float64") for seed in range(seeds)]
    x, y, x_val, y_val = (
        np.stack([getattr(p, name) for p in parts]) for name in ("x_train", "y_train", "x_val", "y_val")
    )
    params = {"W": np.zeros((len(rates), seeds, 64, 10)), "b": np.zeros((len(rates), seeds, 1, 10))}
    step = OPTIMIZERS[optimizer](np.reshape(rates, (-1, 1, 1, 1)))
    orders = [np.random.default_rng(seed) for seed in range(seeds)]
    rows = mlp_numpy.draws.batches(x.shape[1], batch_size, orders, steps)
    with np.errstate(all="ignore"):
        params = descend(params, x, y, rows, step, GRADIENTS[loss])
        z = x_val @ params["W"] + params["b"]
        value, _ = LOSSES[loss](z, np.broadcast_to(y_val, z.shape[:-1]))
        right = (z.argmax(axis=-1) == y_val) & ~np.isnan(z).any(axis=-1)
    return Rates(right.mean(axis=-1), value.mean(axis=-1))


def descend(params, x, y, rows, step: Optimizer, gradient: Callable):
    """One pass over the mini-batches `rows`, (seeds, batch) each, which the models (rates, seeds, ...) share."""
    state, seeds = step.init(params), np.arange(len(x))[:, None]
    for chosen in rows:
        xb, yb = x[seeds, chosen], y[seeds, chosen]
        z = xb @ params["W"] + params["b"]
        dz = gradient(z, np.broadcast_to(yb, z.shape[:-1])) / xb.shape[1]
        grads = {"W": np.swapaxes(xb, -1, -2) @ dz, "b": dz.sum(axis=-2, keepdims=True)}
        params, state = step.step(params, grads, state)
    return params


# --- calibration ----------------------------------------------------------------------------------------------


class Reader(NamedTuple):
    """The logits of a trained network on the validation and test parts of each split, at each of some steps."""

    steps: tuple[int, ...]
    z_val: np.ndarray  # (records, splits, n, classes)
    y_val: np.ndarray  # (splits, n)
    z_test: np.ndarray
    y_test: np.ndarray
    learned: np.ndarray  # (records, splits), the accuracy on the training digits


def train_reader(
    steps: Sequence[int], *, splits: int = 8, noise: float = 0.3, n: int = 300, label_smoothing: float = 0.0,
    learning_rate: float = 0.3, hidden: int = 64, batch_size: int = 50,
) -> Reader:  # fmt: skip
    """A network with one hidden layer on `n` noisy digits a split, looked at after each of `steps`.

    `noise` is the standard deviation of what is added to every pixel, of training, validation and test pictures.
    """
    parts = [noisy(data.digits(seed), noise, n, seed) for seed in range(splits)]
    stacked = data.Split(*(np.stack(column) for column in zip(*parts, strict=True)))
    rngs = [np.random.default_rng(seed) for seed in range(splits)]
    params, state, done, seen = mlp_numpy.init((64, hidden, 10), rngs), None, 0, []
    for until in steps:
        fit = mlp_numpy.fit(
            params, stacked.x_train, stacked.y_train, optimizer=opt_numpy.sgd(learning_rate), steps=until - done,
            batch_size=batch_size, rng=rngs, state=state, label_smoothing=label_smoothing,
        )  # fmt: skip
        params, state, done = fit.params, fit.state, until
        every = stacked.x_train, stacked.x_val, stacked.x_test
        seen.append([mlp_numpy.forward(params, x)[0].astype("float64") for x in every])
    z_train, z_val, z_test = (np.stack(column) for column in zip(*seen, strict=True))
    learned = np.mean(z_train.argmax(axis=-1) == stacked.y_train, axis=-1)
    return Reader(tuple(steps), z_val, stacked.y_val, z_test, stacked.y_test, learned)


def noisy(part: data.Split, noise: float, n: int, seed: int) -> data.Split:
    """The first `n` training pictures and all others, each pixel off by normal noise."""
    rng = np.random.default_rng(seed)

    def add(x):
        return (x + noise * rng.standard_normal(x.shape)).astype(x.dtype)

    return data.Split(
        add(part.x_train[:n]), part.y_train[:n], add(part.x_val), part.y_val, add(part.x_test), part.y_test
    )


def calibration_error(p: np.ndarray, y: np.ndarray, *, bins: int = 10) -> Any:
    """Expected calibration error: |accuracy − confidence| in `bins` groups of equal size, averaged.

    `p` (n, classes); `y` (n,), or (..., n) for an error for each set of labels. The groups are cut after ordering by
    confidence. Guo et al. (2017), equation 3, with groups of equal size, not of equal width, so that none is empty.
    """
    confidence, right = p.max(axis=-1), p.argmax(axis=-1) == y
    order = np.argsort(confidence, kind="stable")
    groups = np.array_split(order, bins)
    gaps = [abs(right[..., g].mean(axis=-1) - confidence[g].mean()) * len(g) for g in groups if len(g)]
    error = sum(gaps) / len(p)
    return float(error) if np.ndim(error) == 0 else error


def reliability(p: np.ndarray, y: np.ndarray, *, bins: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Mean confidence and accuracy of `bins` groups of equal size, ordered by confidence; (bins,) each."""
    confidence, right = p.max(axis=-1), p.argmax(axis=-1) == y
    groups = np.array_split(np.argsort(confidence, kind="stable"), bins)
    return np.array([confidence[g].mean() for g in groups]), np.array([right[g].mean() for g in groups])


def honest_error(p: np.ndarray, rng: np.random.Generator, *, draws: int = 200) -> np.ndarray:
    """The calibration errors a perfectly calibrated model with the probabilities `p` would show: (draws,).

    Labels are drawn from `p` itself, so whatever error remains is that of measuring it with `len(p)` examples.
    """
    cumulative = p.cumsum(axis=-1)
    labels = [(rng.random((len(p), 1)) > cumulative).sum(axis=-1) for _ in range(draws)]
    return calibration_error(p, np.minimum(labels, p.shape[-1] - 1))


def fit_temperature(z: np.ndarray, y: np.ndarray) -> float:
    """The temperature with the smallest cross-entropy on (z, y), searched between 1/20 and 20 on a log scale."""

    def loss(log_t):
        return float(cross_entropy(z / np.exp(log_t), y))

    return float(np.exp(minimize_scalar(loss, bounds=(-np.log(20), np.log(20)), method="bounded").x))


class Calibrated(NamedTuple):
    """What a reader says of the test part before and after temperature scaling; each (records, splits)."""

    accuracy: np.ndarray
    confidence: np.ndarray
    error: np.ndarray  # expected calibration error
    loss: np.ndarray  # nats
    temperature: np.ndarray  # fitted on the validation part
    scaled_error: np.ndarray
    scaled_loss: np.ndarray
    null: np.ndarray  # the mean calibration error that an honest model with these probabilities would show
    scaled_null: np.ndarray  # the same for the scaled probabilities


def calibrate(reader: Reader, *, draws: int = 50) -> Calibrated:
    """Measure the reader on its test part, and again with the temperature that suits its validation part."""
    rows = [
        [
            _calibrate(*columns, draws)
            for columns in zip(z_val, reader.y_val, z_test, reader.y_test, strict=True)
        ]
        for z_val, z_test in zip(reader.z_val, reader.z_test, strict=True)
    ]
    return Calibrated(*np.moveaxis(np.array(rows), -1, 0))


def _calibrate(z_val, y_val, z, y, draws: int) -> list[float]:
    T, p = fit_temperature(z_val, y_val), softmax(z)
    scaled = softmax(z, temperature=T)
    null, scaled_null = (honest_error(q, np.random.default_rng(0), draws=draws).mean() for q in (p, scaled))
    return [
        np.mean(p.argmax(axis=-1) == y), p.max(axis=-1).mean(), calibration_error(p, y),
        float(cross_entropy(z, y)), T, calibration_error(scaled, y), nll(z / T, y), null, scaled_null,
    ]  # fmt: skip


def nll(z: np.ndarray, y: np.ndarray) -> float:
    """Mean of minus the log-probability of the right class, written out: (n, classes), (n,) -> nats."""
    return float(-np.mean(log_softmax(z)[np.arange(len(y)), y]))


# --- the reject option ----------------------------------------------------------------------------------------


def risk_and_coverage(p: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coverage and error when only the k most confident answers are given, for k = 1 to n; (n,) each."""
    order = np.argsort(-p.max(axis=-1), kind="stable")
    wrong = (p.argmax(axis=-1) != y)[order]
    k = np.arange(1, len(y) + 1)
    return k / len(y), wrong.cumsum() / k
