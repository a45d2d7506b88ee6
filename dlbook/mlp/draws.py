"""What is drawn at random, in NumPy for all three frameworks: the first weights and the order of the examples."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import inf
from typing import Any

import numpy as np

from dlbook.data import minibatches
from dlbook.frameworks import to_numpy
from dlbook.shapes import check_number

Rng = np.random.Generator | Sequence[np.random.Generator]


def weights(
    sizes: Sequence[int], rng: Rng, models: int | None, batch_norm: bool, scale: Any, dtype: str
) -> dict[str, np.ndarray]:
    """The arrays of `init`, whose docstring says what they are."""
    sizes, scale = _check_sizes(sizes), _check_scale(scale)
    if np.dtype(dtype).kind != "f":
        raise TypeError(f"dtype must be a floating type such as 'float32', got {dtype!r}")
    generators = _generators(rng, models)
    if generators is None:
        drawn = _normals(sizes, rng)
    else:
        drawn = [np.stack(layer) for layer in zip(*(_normals(sizes, one) for one in generators), strict=True)]
    params = {}
    for number, W in enumerate(drawn, start=1):
        params[f"W{number}"] = (scale * W).astype(dtype)
        hidden = number < len(drawn)
        zeros = np.zeros((*W.shape[:-2], 1, W.shape[-1]), dtype)
        if batch_norm and hidden:
            params |= {f"gamma{number}": zeros + 1, f"beta{number}": zeros}
        else:
            params[f"b{number}"] = zeros
    return params


def batches(n: int, batch_size: int | None, rng: Rng | None, steps: int) -> Iterator[np.ndarray]:
    """Row numbers for each of `steps` steps: (batch,), or (K, batch) for a list of K generators.

    Epoch after epoch, each in a fresh order; the last batch of an epoch may be short. `batch_size=None`
    is all rows in their order, for which no generator is needed.
    """
    if batch_size is None:
        yield from (np.arange(n) for _ in range(steps))
        return
    _check_batch_size(batch_size)
    generators = _generators(rng, None)
    while steps > 0:
        if generators is None:
            epoch = minibatches(n, batch_size, rng)
        else:
            epoch = map(np.stack, zip(*(minibatches(n, batch_size, one) for one in generators), strict=True))
        for rows in epoch:
            if steps == 0:
                return
            yield rows
            steps -= 1


def _normals(sizes: tuple[int, ...], rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.standard_normal(pair) * np.sqrt(2 / pair[0]) for pair in pairwise(sizes)]


def _generators(rng: Any, models: int | None) -> list[np.random.Generator] | None:
    """One generator per model, or None where one generator serves one model."""
    if isinstance(rng, np.random.Generator):
        if models is not None and (not isinstance(models, int) or models < 1):
            raise ValueError(f"models must be None or a whole number of at least 1, got {models!r}")
        return None if models is None else rng.spawn(models)
    several = list(rng) if isinstance(rng, Sequence) else []
    if not several or not all(isinstance(one, np.random.Generator) for one in several):
        raise TypeError(
            f"rng must be a NumPy generator or a list of them, one per model, got {type(rng).__name__}: "
            "try np.random.default_rng(0)"
        )
    if models not in (None, len(several)):
        raise ValueError(f"rng has {len(several)} generators but models is {models}")
    return several


def _check_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(sizes)
    if len(sizes) < 2 or not all(isinstance(n, int | np.integer) and n > 0 for n in sizes):
        raise ValueError(
            f"sizes must be at least two whole numbers > 0, features first and classes last, got {sizes}"
        )
    return sizes


def _check_scale(scale: Any) -> np.ndarray | float:
    scale = to_numpy(scale).astype(np.float64)
    for one in scale.flat:
        check_number("scale", one, 0, inf, open_high=True)
    if scale.ndim and (scale.ndim < 3 or scale.shape[-2:] != (1, 1)):
        raise ValueError(f"scale must be a number or have shape (K, 1, 1), got shape {scale.shape}")
    return scale


def _check_batch_size(batch_size: int) -> None:
    if not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ValueError(
            f"batch_size must be a whole number of at least 1, or None for all rows, got {batch_size!r}"
        )
