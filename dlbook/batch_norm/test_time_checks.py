"""Checks for the exercises of the chapter on test-time batch norm; each prints one line about the answer."""

from collections.abc import Callable

import numpy as np

from dlbook.checks import NOT_ATTEMPTED, attempt, diagnose

EPS = 1e-3


def corrected(function: Callable) -> None:
    """Exercise 1: `function(means, decay)` is the running average of the rows, its start at 0 corrected for."""
    means, decay = np.random.default_rng(0).normal([2.0, -1.0, 0.5], 0.3, size=(7, 3)), 0.9
    got = attempt(function, means, decay)
    if got is None:
        print(NOT_ATTEMPTED)
        return
    t = len(means)
    weights = (1 - decay) * decay ** np.arange(t - 1, -1, -1.0)
    started = decay ** np.arange(t - 1, -1, -1.0) * np.append(1, np.full(t - 1, 1 - decay))
    reverse = decay * (1 - decay) ** np.arange(t - 1, -1, -1.0)
    each = np.zeros(3)
    for step, mean in enumerate(means, start=1):
        each = (decay * each + (1 - decay) * mean) / (1 - decay**step)
    right = weights @ means / (1 - decay**t)
    mistakes = {
        "that is the average as it stands, still held back by its start at 0: divide by what the weights sum to": (
            weights @ means
        ),
        "you start at the first batch instead of 0: it then counts for far too much": started @ means,
        "you keep 1 - decay of the old average: decay is the weight that is KEPT": reverse
        @ means
        / reverse.sum(),
        "you count one step too few: after t batches divide by 1 - decay ** t": weights
        @ means
        / (1 - decay ** (t - 1)),
        "you divide by 1 - decay: that is right after one batch only": weights @ means / (1 - decay),
        "you multiply by the correction: divide": weights @ means * (1 - decay**t),
        "you correct inside the loop, so the correction is corrected again: keep the plain average, and divide once "
        "at the end": each,
        "that is the plain mean, without any decay": means.mean(axis=0),
    }
    print(diagnose(got, right, mistakes, name="the average"))


def pool(function: Callable) -> None:
    """Exercise 2: `function(counts, means, variances)` gives mean and biased variance of all examples together."""
    rng = np.random.default_rng(1)
    batches = [rng.normal(3 * k, 1 + k, (n, 2)) for k, n in enumerate((8, 3, 5))]
    counts = np.array([len(b) for b in batches])
    means, variances = (np.stack([getattr(b, name)(axis=0) for b in batches]) for name in ("mean", "var"))
    got = attempt(function, counts, means, variances)
    if got is None:
        print(NOT_ATTEMPTED)
        return
    if not isinstance(got, tuple) or len(got) != 2:
        print("return the pair mean, variance")
        return
    everything, share = np.concatenate(batches), counts[:, None] / counts.sum()
    right, within = everything.mean(axis=0), (share * variances).sum(axis=0)
    said = diagnose(
        got[0],
        right,
        {
            "the mean must weight each batch by its number of examples": means.mean(axis=0),
            "you forgot to divide the mean by the number of all examples": (counts[:, None] * means).sum(
                axis=0
            ),
        },
        name="the mean",
    )
    if said == "correct":
        between = (share * (means - right) ** 2).sum(axis=0)
        n, k = counts.sum(), len(counts)
        mistakes = {
            "your variance is that inside the batches: their means differ too, and that variance is missing": (
                within
            ),
            "your variance is that between the means: the variances inside the batches are missing": between,
            "the variances inside the batches need weights: the numbers of examples": variances.mean(axis=0)
            + between,
            "the variance between the means needs weights too: the numbers of examples": within
            + means.var(axis=0),
            "neither part of your variance is weighted by the numbers of examples": (
                variances.mean(axis=0) + means.var(axis=0)
            ),
            "your variance divides by n - 1; batch norm divides by n": (within + between) * n / (n - 1),
            "your variance divides by n minus the number of batches; batch norm divides by n": (
                (within * n / (n - k)) + between
            ),
        }
        said = diagnose(got[1], everything.var(axis=0), mistakes, name="the variance")
    print(said)


def fold_forward(function: Callable) -> None:
    """Exercise 3: `function(gamma, beta, mean, var, W, b, eps)` folds a batch norm into the dense layer AFTER it."""
    rng = np.random.default_rng(2)
    gamma, beta, mean = rng.normal(size=(3, 4))
    var, (W, b) = rng.uniform(0.5, 2, 4), (rng.normal(size=(4, 3)), rng.normal(size=3))
    got = attempt(function, gamma, beta, mean, var, W, b, EPS)
    if got is None:
        print(NOT_ATTEMPTED)
        return
    if not isinstance(got, tuple) or len(got) != 2:
        print("return the pair W, b")
        return
    scale = gamma / np.sqrt(var + EPS)
    shift = beta - mean * scale
    said = diagnose(
        got[0],
        scale[:, None] * W,
        {
            "your W forgets eps under the root": (gamma / np.sqrt(var))[:, None] * W,
            "your W forgets gamma": W / np.sqrt(var + EPS)[:, None],
            "your W is divided by the variance; take its root": (gamma / (var + EPS))[:, None] * W,
            "your W is unchanged: each of its ROWS belongs to one feature, and is scaled with it": W,
        },
        name="W",
        rtol=1e-9,
    )
    if said == "correct":
        mistakes = {
            "your b forgets the shift of the batch norm, beta - mean * scale, seen through W": b,
            "your b forgets beta": b - (mean * scale) @ W,
            "your b forgets the mean": b + beta @ W,
            "your b has the sign of the mean wrong": b + (beta + mean * scale) @ W,
            "your b scales the mean but not by gamma / sqrt(var + eps)": b + (beta - mean) @ W,
            "your b sees the shift through the NEW W, so it is scaled twice": b
            + shift @ (scale[:, None] * W),
            "your b forgets the old b": shift @ W,
        }
        said = diagnose(np.squeeze(got[1]), b + shift @ W, mistakes, name="b", rtol=1e-9)
    print(said)
