"""Small data sets, each from a seed. The real ones ship inside scikit-learn; nothing is downloaded.

A function returns NumPy arrays: examples in rows, one column per feature, labels as whole numbers from 0.
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from sklearn import datasets

DIGIT_LEVELS = 16.0  # the pixels of scikit-learn's digits are whole numbers from 0 to 16


class Split(NamedTuple):
    """Examples and labels in three parts: fit on train, choose on validation, report on test."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def digits(seed: int, *, fractions=(0.6, 0.2, 0.2), dtype="float32") -> Split:
    """1797 handwritten digits of 8 x 8 pixels, scaled to [0, 1], split at random: x (n, 64), y (n,) in 0..9.

    Source: the test part of "Optical recognition of handwritten digits" (UCI; Alpaydin and Kaynak 1998).
    """
    bunch = _load_digits()
    return split(bunch.data / DIGIT_LEVELS, bunch.target, seed, fractions=fractions, dtype=dtype)


def wine(seed: int, *, fractions=(0.6, 0.2, 0.2), dtype="float64") -> Split:
    """178 wines of 3 growers, 13 measurements in their raw units, from 0.1 to 1680: x (n, 13), y (n,).

    Not standardised: how much the units matter is what chapters use it for. See `standardise`.
    """
    bunch = datasets.load_wine()
    return split(bunch.data, bunch.target, seed, fractions=fractions, dtype=dtype)


def breast_cancer(seed: int, *, fractions=(0.6, 0.2, 0.2), dtype="float64") -> Split:
    """569 tumours, 30 measurements in raw units, y = 0 malignant or 1 benign: x (n, 30), y (n,)."""
    bunch = datasets.load_breast_cancer()
    return split(bunch.data, bunch.target, seed, fractions=fractions, dtype=dtype)


def blobs(seed: int, *, classes=3, per_class=60, spread=0.5, radius=2.0) -> tuple[np.ndarray, np.ndarray]:
    """Round clouds in the plane, their centres on a circle of `radius`: x (classes * per_class, 2), y."""
    rng = np.random.default_rng(seed)
    angle = 2 * np.pi * np.arange(classes) / classes
    centres = radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    x = centres[:, None, :] + spread * rng.standard_normal((classes, per_class, 2))
    return x.reshape(-1, 2), np.repeat(np.arange(classes), per_class)


def rings(seed: int, *, classes=3, per_class=60, spread=0.12) -> tuple[np.ndarray, np.ndarray]:
    """Rings around the origin, one per class, of radius 1, 2, 3 ...: no straight line tells them apart."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, (classes, per_class))
    radius = 1 + np.arange(classes)[:, None] + spread * rng.standard_normal((classes, per_class))
    x = radius[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return x.reshape(-1, 2), np.repeat(np.arange(classes), per_class)


@cache
def _load_digits():
    """Parsed once: a chapter asks for dozens of splits. `split` copies, so nobody can change it."""
    return datasets.load_digits()


def split(x: np.ndarray, y: np.ndarray, seed: int, *, fractions=(0.6, 0.2, 0.2), dtype="float64") -> Split:
    """Shuffle with `seed` and cut into train, validation and test parts of `fractions`, which sum to 1."""
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9:
        raise ValueError(f"fractions must be three numbers >= 0 that sum to 1, got {fractions}")
    if len(x) != len(y):
        raise ValueError(f"x and y must have as many rows, got {len(x)} and {len(y)}")
    order = np.random.default_rng(seed).permutation(len(x))
    first = round(fractions[0] * len(x))
    second = first + round(fractions[1] * len(x))
    parts = order[:first], order[first:second], order[second:]
    return Split(*(part for rows in parts for part in (x[rows].astype(dtype), y[rows])))


def standardise(train: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...]:
    """Subtract the mean and divide by the standard deviation of `train`, in `train` and in all `others`.

    A constant feature becomes 0. The statistics come from `train` alone: the other parts are the future.
    """
    mean, std = train.mean(axis=0), train.std(axis=0)
    std = np.where(std == 0, 1, std)
    return tuple((x - mean) / std for x in (train, *others))


def minibatches(
    n: int, batch_size: int, rng: np.random.Generator, *, drop_last: bool = False
) -> Iterator[np.ndarray]:
    """The row numbers of one epoch's mini-batches, in an order drawn from `rng`; the last may be short."""
    if not 0 < batch_size:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    order = rng.permutation(n)
    stop = n - n % batch_size if drop_last else n
    for start in range(0, stop, batch_size):
        yield order[start : start + batch_size]
