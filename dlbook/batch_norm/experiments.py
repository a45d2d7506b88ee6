"""The experiments of the chapter on normalising activations: settings and seeds in, plain arrays out.

The network is always the same small digit reader, trained by `train`; pixels are standardised in both arms, so that
batch norm is not credited with what standardising the inputs does. A seed changes the split of the data, the first
weights and the order of the batches; runs with the same seed share all three.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from sklearn import datasets

from dlbook import data
from dlbook.batch_norm.numpy import batch_norm_backward, batch_norm_train
from dlbook.mlp import numpy as mlp_numpy
from dlbook.optimizers import numpy as opt_numpy
from dlbook.parallel import parallel

HIDDEN = (32, 32, 32, 32)
BATCH, STEPS = 64, 102  # six epochs of the 1078 training digits
RATES = SCALES = np.array([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0])
ARMS = ("plain", "batch norm")  # the order of the first axis of every result


class Descent(NamedTuple):
    """Gradient descent on logistic regression with the inputs in one scaling."""

    condition: float  # the ratio of the largest to the smallest curvature at the start
    loss: np.ndarray  # (steps + 1,), nats
    path: np.ndarray  # (steps + 1, weights)


def scalings(x: np.ndarray) -> dict[str, np.ndarray]:
    """The same inputs raw, with each feature's mean removed, and standardised."""
    return {"raw": x, "centred": x - x.mean(axis=0), "standardised": data.standardise(x)[0]}


def descend(x: np.ndarray, y: np.ndarray, steps: int) -> Descent:
    """Logistic regression without a bias by gradient descent from zero, at the learning rate 1/L.

    `x` (n, weights), `y` (n,) in {0, 1}. L is the largest eigenvalue of the Hessian at zero, where
    the loss curves most, so 1/L never diverges: each scaling gets a step that is safe for it.
    """
    curvature = np.linalg.eigvalsh(x.T @ x / (4 * len(x)))
    w, losses, path = np.zeros(x.shape[1]), [], []
    for _ in range(steps + 1):
        z = x @ w
        losses.append(np.mean(np.logaddexp(0, z) - y * z))
        path.append(w)
        w = w - x.T @ (expit(z) - y) / len(x) / curvature[-1]
    return Descent(float(curvature[-1] / curvature[0]), np.array(losses), np.array(path))


def tasks() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Two questions with inputs in their raw units: which wines are the second grower's, which tumours benign."""
    wine, tumours = datasets.load_wine(), datasets.load_breast_cancer()
    return {"wine": (wine.data, wine.target == 1), "tumours": (tumours.data, tumours.target == 1)}


def bowl(x: np.ndarray, y: np.ndarray, steps: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """The path (steps + 1, weights) of `descend`, and the weights where the loss is smallest."""

    def loss(w):
        z = x @ w
        return np.mean(np.logaddexp(0, z) - y * z), x.T @ (expit(z) - y) / len(x)

    return descend(x, y, steps).path, minimize(loss, np.zeros(x.shape[1]), jac=True).x


def inputs_first(steps: int = 1000) -> dict[str, dict[str, Descent]]:
    """`descend` on both `tasks` in each of the `scalings`, with a column of ones for the bias."""
    return {
        task: {
            name: descend(np.column_stack([scaled, np.ones(len(y))]), y, steps)
            for name, scaled in scalings(x).items()
        }
        for task, (x, y) in tasks().items()
    }


class Scores(NamedTuple):
    """How a population of networks did on the validation digits."""

    accuracy: np.ndarray
    loss: np.ndarray  # nats; not finite for a run that diverged


def train(
    rate: Any,
    seed: Any,
    *,
    batch_norm: bool,
    hidden: Sequence[int] = HIDDEN,
    scale: Any = 1.0,
    brightness: Any = 1.0,
    batch_size: int = BATCH,
    steps: int = STEPS,
    optimizer: Callable = opt_numpy.sgd,
    dtype: str = "float32",
) -> Scores:
    """Train a digit reader for every entry of `rate`, `seed`, `scale` and `brightness`, side by side.

    These four broadcast against each other, and the scores have their joint shape: rates (7, 1)
    and seeds (5,) give 35 networks and scores (7, 5). `scale` multiplies the first weights,
    `brightness` the standardised pixels; `optimizer` takes the rates as (networks, 1, 1).
    Batch norm is judged with precise statistics.
    """
    rate, seed, scale, brightness = np.broadcast_arrays(rate, seed, scale, brightness)
    splits = {s: _standardised(s) for s in np.unique(seed).tolist()}
    x, y, x_val, y_val = (np.stack(part) for part in zip(*(splits[s] for s in seed.flat), strict=True))

    def each(value):
        return value.reshape(-1, 1, 1)

    def rngs():
        return [np.random.default_rng(s) for s in seed.flat]

    history = mlp_numpy.fit(
        mlp_numpy.init((64, *hidden, 10), rngs(), batch_norm=batch_norm, scale=each(scale), dtype=dtype),
        (x * each(brightness)).astype(dtype),
        y,
        optimizer=optimizer(each(rate)),
        steps=steps,
        batch_size=batch_size,
        rng=rngs(),
        validation=((x_val * each(brightness)).astype(dtype), y_val),
    ).history
    return Scores(*(a[-1].reshape(seed.shape) for a in (history.val_accuracy, history.val_loss)))


def _standardised(seed: int) -> tuple[np.ndarray, ...]:
    part = data.digits(seed, dtype="float64")
    x, x_val = data.standardise(part.x_train, part.x_val)
    return x, part.y_train, x_val, part.y_val


def both(rate: Any, seed: Any, **settings: Any) -> Scores:
    """`train` in both `ARMS`, from the same seeds: the scores have a first axis of length 2."""
    arms = parallel(lambda arm: train(rate, seed, batch_norm=arm, **settings), (False, True))
    return Scores(*(np.stack(part) for part in zip(*arms, strict=True)))


def decades(values: np.ndarray, accuracy: np.ndarray, threshold: float = 0.9) -> np.ndarray:
    """How many powers of ten of `values` (n,) reach `threshold`, for `accuracy` (..., n, seeds): (..., seeds).

    Accuracy is read as a broken line over the logarithm of `values`.
    """
    at, fine = np.log10(values), np.linspace(*np.log10(values[[0, -1]]), 1001)
    curves = np.moveaxis(accuracy, -2, -1)
    above = [np.mean(np.interp(fine, at, curve) >= threshold) for curve in curves.reshape(-1, len(at))]
    return np.reshape(above, curves.shape[:-1]) * (at[-1] - at[0])


def tuned(rates: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """The rate with the smallest median loss over the seeds, for `loss` (..., rates, seeds); NaN is the worst."""
    return rates[np.median(np.where(np.isnan(loss), np.inf, loss), axis=-1).argmin(axis=-1)]


RESCALED = {  # changes that leave the arrays' shapes alone: the scale of the first weights, and of the pixels
    "nothing": (1.0, 1.0),
    "first weights × 0.3": (0.3, 1.0),
    "first weights × 3": (3.0, 1.0),
    "pixels × 0.1": (1.0, 0.1),
    "pixels × 10": (1.0, 10.0),
}
RESHAPED: dict[str, dict[str, Any]] = {
    "momentum 0.9": dict(optimizer=lambda rate: opt_numpy.momentum(rate, 0.9)),
    "1 hidden layer": dict(hidden=(32,)),
    "8 hidden layers": dict(hidden=(32,) * 8),
    "8 units a layer": dict(hidden=(8,) * 4),
    "batches of 256": dict(batch_size=256, steps=STEPS // 4),
}
CHANGES = (*RESCALED, *RESHAPED)


def one_change(rates: Sequence[float], seeds: int = 5) -> np.ndarray:
    """Accuracy (changes, 2, seeds) after each of `CHANGES` to the reader, each arm at its own of the two `rates`."""
    seed, (scale, brightness) = np.arange(seeds), np.transpose(list(RESCALED.values()))[..., None]

    def arm(rate, batch_norm):
        rows = list(train(rate, seed, batch_norm=batch_norm, scale=scale, brightness=brightness).accuracy)
        for change in RESHAPED.values():
            rows.append(train(rate, seed, batch_norm=batch_norm, **change).accuracy)
        return np.stack(rows)

    return np.stack(
        [arm(rate, batch_norm) for rate, batch_norm in zip(rates, (False, True), strict=True)], axis=1
    )


class Search(NamedTuple):
    """A random search with the same trials in both arms."""

    rate: np.ndarray  # (studies, trials)
    scale: np.ndarray
    beta: np.ndarray  # of momentum
    accuracy: np.ndarray  # (2, studies, trials)
    loss: np.ndarray


def search(studies: int = 5, trials: int = 12) -> Search:
    """Draw learning rates in [0.01, 10), scales of the first weights in [0.1, 10) and 1 - beta in (0.01, 1].

    All three log-uniformly. Study k has seed k, for its draws as for the split, the weights and the order.
    """
    u = np.stack([np.random.default_rng(k).random((3, trials)) for k in range(studies)], axis=1)
    rate, scale, beta = 10 ** (3 * u[0] - 2), 10 ** (2 * u[1] - 1), 1 - 10 ** (-2 * u[2])

    def with_momentum(rates):
        return opt_numpy.momentum(rates, beta.reshape(-1, 1, 1))

    scores = both(rate, np.arange(studies)[:, None], scale=scale, optimizer=with_momentum)
    return Search(rate, scale, beta, *scores)


def trials_needed(accuracy: np.ndarray, threshold: float = 0.9) -> np.ndarray:
    """The number of the first trial that reaches `threshold`, over the last axis; infinite where none does."""
    reached = accuracy >= threshold
    return np.where(reached.any(axis=-1), reached.argmax(axis=-1) + 1.0, np.inf)


def deep(depths: Sequence[int], rates: np.ndarray, seeds: int = 5) -> Scores:
    """Readers with 32 units in each of `depths` hidden layers: scores (2, depths, rates, seeds)."""
    runs = [both(rates[:, None], np.arange(seeds), hidden=(32,) * depth) for depth in depths]
    return Scores(*(np.stack(part, axis=1) for part in zip(*runs, strict=True)))


def gradient_sizes(depth: int, seeds: int = 5, rows: int = 256) -> np.ndarray:
    """The norm of the loss's gradient in the weights of each layer before training: (2, seeds, depth + 1)."""
    sizes = []
    for arm in (False, True):
        for seed in range(seeds):
            x, y, _, _ = _standardised(seed)
            params = mlp_numpy.init(
                (64, *(32,) * depth, 10), np.random.default_rng(seed), batch_norm=arm, dtype="float64"
            )
            grads = mlp_numpy.loss_and_gradients(params, x[:rows], y[:rows])[1]
            sizes.append([np.linalg.norm(grads[f"W{i}"]) for i in range(1, depth + 2)])
    return np.reshape(sizes, (2, seeds, depth + 1))


def central_difference(f: Callable, x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    """The gradient of the number `f(x)` in every entry of `x`, measured on both sides."""
    slope = np.empty_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = h
        slope[i] = (f(x + step) - f(x - step)) / (2 * h)
    return slope


def detached_backward(dy: np.ndarray, cache: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """WRONG on purpose: the gradients when the mean and the variance are taken for constants."""
    _, dgamma, dbeta = batch_norm_backward(dy, cache)
    return dy * cache.gamma / cache.std, dgamma, dbeta


def train_detached(rate: Any, seed: Any) -> Scores:
    """`train` with batch norm, but with `detached_backward` as its backward pass."""
    with mock.patch.object(mlp_numpy, "batch_norm_backward", detached_backward):
        return train(rate, seed, batch_norm=True)


def bias_walk(
    steps: int, rate: float, backward: Callable = batch_norm_backward
) -> tuple[np.ndarray, np.ndarray]:
    """Train a bias b in front of a batch norm to bring the output to 1: the losses and the values of b.

    Four numbers plus b are normalised, with gamma = 1 and beta = 0; the loss is the mean squared distance to 1.
    """
    u, one, zero = np.array([[1.0], [2.0], [3.0], [4.0]]), np.ones(1), np.zeros(1)
    b, losses, walk = 0.0, [], []
    for _ in range(steps + 1):
        y, _, cache = batch_norm_train(u + b, one, zero)
        losses.append(np.mean((y - 1) ** 2))
        walk.append(b)
        b = b - rate * backward(2 * (y - 1) / len(u), cache)[0].sum()
    return np.array(losses), np.array(walk)


def dead_gamma(rate: float, seed: int = 0, gamma: float = 0.0) -> Scores:
    """A reader with batch norm whose every `gamma` starts at the given value."""
    x, y, x_val, y_val = _standardised(seed)
    params = mlp_numpy.init((64, *HIDDEN, 10), np.random.default_rng(seed), batch_norm=True, dtype="float64")
    params = {k: v * gamma if k.startswith("gamma") else v for k, v in params.items()}
    fit = mlp_numpy.fit(
        params,
        x,
        y,
        optimizer=opt_numpy.sgd(rate),
        steps=STEPS,
        batch_size=BATCH,
        rng=np.random.default_rng(seed),
        validation=(x_val, y_val),
    )
    return Scores(fit.history.val_accuracy[-1], fit.history.val_loss[-1])


def zero_unit(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The values (n, 1) of a unit that looks for zeros in the training digits, and which digits (n,) are zeros.

    Its weights are the mean picture of a zero minus the mean picture of all other digits.
    """
    part = data.digits(seed, dtype="float64")
    zero = part.y_train == 0
    w = part.x_train[zero].mean(axis=0) - part.x_train[~zero].mean(axis=0)
    return (part.x_train @ w)[:, None], zero
