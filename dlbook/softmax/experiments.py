"""The experiments of the chapter on softmax: seeds and settings in, plain arrays out.

A linear model is fitted to its optimum, where the gradient vanishes, so no optimiser's luck is in the results: what
varies between seeds is the data that are drawn, or how they are split.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from dlbook import data
from dlbook.mlp import numpy as mlp_numpy
from dlbook.optimizers import numpy as opt_numpy
from dlbook.softmax.numpy import cross_entropy_backward, log_softmax, softmax

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
HEAD_PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
HEADS = ("softmax", "one-vs-rest", "nearest mean")

Logits = Callable[[np.ndarray], np.ndarray]


def fit(x: np.ndarray, y: np.ndarray, l2: float, *, gtol: float = 1e-6) -> tuple[np.ndarray, np.ndarray]:
    """W (features, classes) and b (classes,) that minimise mean cross-entropy + l2/2 * the sum of W squared.

    `x` (n, features); `y` (n,) classes, or (n, classes) probabilities. For l2 > 0 the minimum exists and W is unique.
    """
    q = y if y.ndim == 2 else np.eye(int(y.max()) + 1)[y]

    def loss(z):
        log_p = log_softmax(z)
        return -np.sum(q * log_p), np.exp(log_p) - q

    return best_weights(loss, x, q.shape[1], l2, gtol)


def logistic(x: np.ndarray, y: np.ndarray, l2: float, *, gtol: float = 1e-6) -> tuple[np.ndarray, float]:
    """Two-class logistic regression, penalised as in `fit` but written without a softmax: w (features,) and b."""
    W, b = _sigmoids(x, np.asarray(y, x.dtype)[:, None], l2, gtol)
    return W[:, 0], float(b[0])


def best_weights(
    loss: Callable, x: np.ndarray, columns: int, l2: float, gtol: float
) -> tuple[np.ndarray, np.ndarray]:
    """W (features, columns) and b (columns,) with the smallest mean of `loss` + l2/2 * the sum of W squared.

    `loss` maps the scores z = x @ W + b, (n, columns), to the sum of the losses of all rows and its gradient in z.
    """

    def unpack(theta):
        return theta[:-columns].reshape(x.shape[1], columns), theta[-columns:]

    def objective(theta):
        W, b = unpack(theta)
        total, dz = loss(x @ W + b)
        slopes = x.T @ dz / len(x) + l2 * W, dz.sum(axis=0) / len(x)
        return float(total / len(x) + l2 / 2 * np.sum(W**2)), np.concatenate([slopes[0].ravel(), slopes[1]])

    return unpack(minimum(objective, np.zeros((x.shape[1] + 1) * columns), gtol))


def _sigmoids(x: np.ndarray, q: np.ndarray, l2: float, gtol: float) -> tuple[np.ndarray, np.ndarray]:
    """A logistic regression for each column of `q` (n, columns), 0 or 1; they share nothing but the call."""

    def loss(z):
        return np.sum(np.logaddexp(0, z) - q * z), expit(z) - q

    return best_weights(loss, x, q.shape[1], l2, gtol)


def minimum(objective: Callable, start: np.ndarray, gtol: float) -> np.ndarray:
    """Where `objective`, a loss and its gradient, is smallest: L-BFGS until no slope is above `gtol`."""
    exact = dict(ftol=1e-16, gtol=gtol, maxiter=20_000, maxfun=40_000, maxcor=30)
    return minimize(objective, start, jac=True, method="L-BFGS-B", options=exact).x


class Regions(NamedTuple):
    """Where a classifier of points in the plane decides for which class."""

    x: np.ndarray  # (n, 2), the points it learned from
    y: np.ndarray  # (n,)
    winner: np.ndarray  # (grid, grid), the class it predicts
    reach: float  # the grid goes from -reach to reach in both directions
    accuracy: float  # on the points it learned from
    bend: dict[tuple[int, int], float]  # for two classes, how far their boundary strays from a straight line
    dents: float  # of the pairs of points in one region, the share whose midpoint lies in another


def regions(logits: Logits, x: np.ndarray, y: np.ndarray, *, reach: float = 4.0, grid: int = 161) -> Regions:
    """The regions of the classifier `logits`, which maps points (n, 2) to logits (n, classes)."""
    at = np.linspace(-reach, reach, grid)
    points = np.stack(np.meshgrid(at, at), axis=-1)
    winner = logits(points.reshape(-1, 2)).argmax(axis=1).reshape(grid, grid)
    one, other = np.random.default_rng(0).uniform(-reach, reach, (2, 20_000, 2))
    a, b, middle = (logits(p).argmax(axis=1) for p in (one, other, (one + other) / 2))
    bend = {pair: straying(p) for pair, p in boundaries(logits, points, winner).items()}
    accuracy = np.mean(logits(x).argmax(axis=1) == y)
    return Regions(x, y, winner, reach, float(accuracy), bend, float(np.mean(middle[a == b] != a[a == b])))


def boundaries(logits: Logits, points: np.ndarray, winner: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """Points on the boundary of each pair of classes, by bisection between neighbours on the grid that disagree."""
    ends = [], []
    for first, second in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        differ = winner[first] != winner[second]
        for side, cells in zip(ends, (first, second), strict=True):
            side.append((points[cells][differ], winner[cells][differ]))
    (a, i), (b, j) = (tuple(map(np.concatenate, zip(*side, strict=True))) for side in ends)
    row = np.arange(len(i))
    for _ in range(50):
        middle = (a + b) / 2
        z = logits(middle)
        still_i = (z[row, i] > z[row, j])[:, None]
        a, b = np.where(still_i, middle, a), np.where(still_i, b, middle)
    pairs = np.sort(np.stack([i, j], axis=1), axis=1)
    return {(int(p), int(q)): a[(pairs == (p, q)).all(axis=1)] for p, q in np.unique(pairs, axis=0)}


def straying(points: np.ndarray) -> float:
    """The largest distance of `points` (n, 2) from the straight line that fits them best."""
    centred = points - points.mean(axis=0)
    normal = np.linalg.svd(centred, full_matrices=False)[2][-1]
    return float(np.abs(centred @ normal).max())


def linear(x: np.ndarray, y: np.ndarray, *, l2: float = 1e-3) -> tuple[Regions, np.ndarray, np.ndarray]:
    """The regions of softmax regression on `x`, and its W and b."""
    W, b = fit(x, y, l2)
    return regions(lambda points: points @ W + b, x, y), W, b


def hidden(seeds: int = 5, *, units: int = 16, lr: float = 0.03, steps: int = 600) -> list[Regions]:
    """The regions of softmax on one hidden layer of ReLUs, on rings; data and first weights change with the seed.

    Adam on all rows at once; the runs are one population of networks, trained side by side.
    """
    x, y = (np.stack(part) for part in zip(*(data.rings(seed) for seed in range(seeds)), strict=True))
    starts = [np.random.default_rng(seed) for seed in range(seeds)]
    params = mlp_numpy.init((2, units, int(y.max()) + 1), starts, dtype="float64")
    params = mlp_numpy.fit(params, x, y, optimizer=opt_numpy.adam(lr), steps=steps).params
    networks = [{name: value[k] for name, value in params.items()} for k in range(seeds)]
    return [
        regions(lambda points, n=n: mlp_numpy.forward(n, points)[0], *xy)
        for n, *xy in zip(networks, x, y, strict=True)
    ]


class TwoClasses(NamedTuple):
    """The weights of logistic regression, and w1 - w0 of softmax regression, on the tumours."""

    logistic: np.ndarray  # (penalties, seeds, features)
    same: np.ndarray  # softmax with the same penalty
    doubled: np.ndarray  # softmax with twice that penalty
    mirror: float  # the largest |w0 + w1| of any softmax fit


def two_classes(penalties: Sequence[float] = PENALTIES, seeds: int = 5) -> TwoClasses:
    """Logistic regression against softmax regression with two classes, over splits of the tumours."""
    results, mirror = [], 0.0
    for l2 in penalties:
        for seed in range(seeds):
            part = data.breast_cancer(seed)
            x, y = data.standardise(part.x_train)[0], part.y_train
            both = [fit(x, y, factor * l2, gtol=1e-10)[0] for factor in (1, 2)]
            results.append([logistic(x, y, l2, gtol=1e-10)[0], *(W[:, 1] - W[:, 0] for W in both)])
            mirror = max(mirror, *(np.abs(W.sum(axis=1)).max() for W in both))
    arms = np.moveaxis(np.array(results).reshape(len(penalties), seeds, 3, -1), 2, 0)
    return TwoClasses(*arms, float(mirror))


def descents(steps: int = 100, lr: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Gradient descent without a penalty on the tumours: the path of w in logistic regression at rate `lr`, and
    of w1 - w0 in softmax regression at `lr / 2`, both from zero; (steps, features) each.
    """
    part = data.breast_cancer(0)
    x, y = data.standardise(part.x_train)[0], part.y_train
    w, W, paths = np.zeros(x.shape[1]), np.zeros((x.shape[1], 2)), ([], [])
    for _ in range(steps):
        w = w - lr * x.T @ (expit(x @ w) - y) / len(x)
        W = W - lr / 2 * x.T @ cross_entropy_backward(x @ W, y)
        paths[0].append(w)
        paths[1].append(W[:, 1] - W[:, 0])
    return np.array(paths[0]), np.array(paths[1])


class Comparison(NamedTuple):
    """Three ways to choose one of C classes, seed by seed on the same splits; arms in the order of `HEADS`."""

    accuracy: np.ndarray  # (3, seeds), on the test part
    loss: np.ndarray  # (2, seeds), test cross-entropy in nats; a nearest mean gives no probabilities
    penalty: np.ndarray  # (2, seeds), chosen on the validation part


def compare_heads(name: str, seeds: int, penalties: Sequence[float] = HEAD_PENALTIES) -> Comparison:
    """Softmax, one-vs-rest and the nearest class mean on `name` ("wine" or "digits"), over splits of the data.

    The two that have a penalty try `penalties`, from the strongest down, until the cross-entropy on the validation
    part rises, and get the one before. Weaker ones would take most of the time: the weaker, the longer is a fit.
    """
    rows = [_compare(getattr(data, name)(seed), penalties) for seed in range(seeds)]
    accuracy, loss, penalty = (np.array(part).T for part in zip(*rows, strict=True))
    return Comparison(accuracy, loss, penalty)


def _compare(part: data.Split, penalties: Sequence[float]) -> tuple[list, list, list]:
    train, val, test = data.standardise(part.x_train, part.x_val, part.x_test)
    accuracy, loss, chosen = [], [], []
    for model in (fit, one_vs_rest):
        least, head = np.inf, softmax if model is fit else shared_sigmoids
        for l2 in penalties:
            W, b = model(train, part.y_train, l2)
            now = nll(head(val @ W + b), part.y_val)
            if now > least:
                break
            least, best, p = now, l2, head(test @ W + b)
        accuracy.append(np.mean(p.argmax(axis=1) == part.y_test))
        loss.append(nll(p, part.y_test))
        chosen.append(best)
    return [*accuracy, np.mean(nearest_mean(train, part.y_train, test) == part.y_test)], loss, chosen


def nearest_mean(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    """For each row of `new` the class whose mean, over the rows of `x`, is nearest: (rows,)."""
    means = np.stack([x[y == c].mean(axis=0) for c in range(int(y.max()) + 1)])
    return np.square(new[:, None] - means).sum(axis=-1).argmin(axis=1)


def one_vs_rest(x: np.ndarray, y: np.ndarray, l2: float) -> tuple[np.ndarray, np.ndarray]:
    """One logistic regression a class, this class against all others: W (features, classes) and b (classes,)."""
    return _sigmoids(x, np.eye(int(y.max()) + 1)[y], l2, 1e-6)


def shared_sigmoids(z: np.ndarray) -> np.ndarray:
    """One-vs-rest probabilities: each class's own sigmoid, divided by their sum."""
    p = expit(z)
    return p / p.sum(axis=1, keepdims=True)


def nll(p: np.ndarray, y: np.ndarray) -> float:
    """Mean of minus the log of the probability that `p` (n, classes) gives to the right class, in nats."""
    return float(-np.mean(np.log(p[np.arange(len(y)), y])))


class InARow(NamedTuple):
    """Three classes on a line, and what two heads make of it; `at` is (grid,), `p` are (grid, 3)."""

    x: np.ndarray
    y: np.ndarray
    at: np.ndarray
    p_softmax: np.ndarray
    p_one_vs_rest: np.ndarray  # each class's own sigmoid, not divided by their sum
    unclaimed: float  # of the middle class, the share that no one-vs-rest classifier gives more than one half
    surest: tuple[float, float]  # the accuracy of taking the surest class: softmax, one-vs-rest


def in_a_row(seed: int, *, per_class: int = 60, spread: float = 0.5, l2: float = 1e-3) -> InARow:
    """Three classes around -2, 0 and 2 on a line: a straight cut cannot part the middle one from the rest."""
    rng, y = np.random.default_rng(seed), np.repeat(np.arange(3), per_class)
    x, at = 2.0 * (y - 1) + spread * rng.standard_normal(len(y)), np.linspace(-4, 4, 161)
    (W, b), (V, a) = (model(x[:, None], y, l2) for model in (fit, one_vs_rest))
    middle = expit(x[y == 1, None] @ V + a)
    unclaimed = float(np.mean(middle.max(axis=1) <= 0.5))
    surest = tuple(float(np.mean((x[:, None] @ M + c).argmax(axis=1) == y)) for M, c in ((W, b), (V, a)))
    return InARow(x, y, at, softmax(at[:, None] @ W + b), expit(at[:, None] @ V + a), unclaimed, surest)


class Underlined(NamedTuple):
    """Two heads on digits of which half are underlined; probabilities of the underlined test digits only."""

    pictures: np.ndarray  # (2, 8, 8), the same digit plain and underlined
    one_softmax: np.ndarray  # (seeds, n, 2), the right digit and "underlined" among 11 labels that share 1
    two_heads: np.ndarray  # (seeds, n, 2), softmax over the ten digits, and a sigmoid for "underlined"


def underlined(seeds: int = 5, *, l2: float = 1e-3, n: int = 150) -> Underlined:
    """What a softmax over all labels says when two of them are right, and what two heads say; `n` digits a seed."""
    shared, separate = [], []
    for seed in range(seeds):
        part, rng = data.digits(seed, dtype="float64"), np.random.default_rng(seed)
        (x, line), (test, line_test) = (_underline(p, rng) for p in (part.x_train, part.x_test))
        labels = np.column_stack([np.eye(10)[part.y_train], line])
        W, b = fit(x, labels / labels.sum(axis=1, keepdims=True), l2)
        V, a = fit(x, part.y_train, l2)
        w, c = logistic(x, line, l2)
        rows = np.flatnonzero(line_test)[:n]
        y, row = part.y_test[rows], np.arange(len(rows))
        p = softmax(test[rows] @ W + b)
        shared.append(np.stack([p[row, y], p[:, 10]], axis=1))
        separate.append(np.stack([softmax(test[rows] @ V + a)[row, y], expit(test[rows] @ w + c)], axis=1))
    plain = part.x_test[rows[0]].reshape(8, 8)
    return Underlined(np.stack([plain, test[rows[0]].reshape(8, 8)]), np.array(shared), np.array(separate))


def _underline(x: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A copy of the pictures in which every other one, by the toss of a coin, has its lowest row inked."""
    line = rng.random(len(x)) < 0.5
    x = x.reshape(-1, 8, 8).copy()
    x[line, 7] = 1.0
    return x.reshape(-1, 64), line


class Confidence(NamedTuple):
    """Softmax regression on the digits against its penalty, each (seeds, penalties), on the test part."""

    accuracy: np.ndarray
    confidence: np.ndarray  # the mean probability of the predicted class
    loss: np.ndarray  # nats


def confidence(penalties: Sequence[float], seeds: int = 5) -> Confidence:
    """How sure softmax regression is, and how often right, over splits of the digits."""
    rows = []
    for seed in range(seeds):
        part = data.digits(seed, dtype="float64")
        for l2 in penalties:
            W, b = fit(part.x_train, part.y_train, l2)
            p = softmax(part.x_test @ W + b)
            rows.append([np.mean(p.argmax(axis=1) == part.y_test), p.max(axis=1).mean(), nll(p, part.y_test)])
    return Confidence(*np.moveaxis(np.array(rows).reshape(seeds, len(penalties), 3), 2, 0))
