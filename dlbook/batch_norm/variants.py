r"""Relatives of batch norm: the same normalisation, averaged over other axes.

Each splits the array, lets :func:`dlbook.batch_norm.numpy.batch_norm_train` normalise the pieces, and puts them
together again; then come :math:`\gamma` and :math:`\beta`. One backward pass serves all three.

* Ghost batch norm (Hoffer, Hubara and Soudry 2017): the mean over `group_size` examples of a batch, group after
  group. It is what data-parallel training does when every device normalises its own share of the batch.
* Layer norm (Ba, Kiros and Hinton 2016): the mean over the features of one example.
* Group norm (Wu and He 2018): the mean over one group of neighbouring features of one example.

`x` is `(..., batch, features)`. `gamma` and `beta` are arrays that broadcast against `x`, in the shape in which their
gradients come back: `(features,)`, `(K, 1, features)` for a population, `(C, 1, 1)` for images as NCHW. Layer and
group norm do the same in training and at test time; ghost batch norm is `batch_norm_test` at test time.

Written against the array API standard, like `numpy.py`.
"""

from typing import Any, NamedTuple

from array_api_compat import device

from dlbook.batch_norm import Cache
from dlbook.batch_norm.numpy import batch_norm_backward, batch_norm_train
from dlbook.frameworks import array_namespace
from dlbook.shapes import Axis, Batch, PerFeature, axes, shape_of, statistics_shape


class Pieces(NamedTuple):
    """What the backward pass needs: the cache of the normalised pieces, and gamma."""

    cache: Cache
    gamma: Any


def ghost_batch_norm(
    x: Batch, gamma: PerFeature, beta: PerFeature, *, group_size: int, eps: float = 1e-5
) -> tuple[Batch, Pieces]:
    """Normalise each `group_size` neighbouring examples by their own mean and variance; `y` and the cache.

    `group_size` must divide the batch; when it is the whole batch, this is batch norm.
    """
    *_, m, features = shape_of(x)
    parts = _parts("group_size", group_size, m, "examples of the batch")
    pieces = (*x.shape[:-2], parts, group_size, features)
    return _normalised(x, gamma, beta, pieces, (len(pieces) - 2,), eps)


def layer_norm(
    x: Batch, gamma: PerFeature, beta: PerFeature, *, axis: Axis = -1, eps: float = 1e-5
) -> tuple[Batch, Pieces]:
    """Normalise each example over its own features: `y` and the cache. Images as NCHW have `axis=(1, 2, 3)`."""
    return _normalised(x, gamma, beta, x.shape, axes(axis, x.ndim), eps)


def group_norm(
    x: Batch,
    gamma: PerFeature,
    beta: PerFeature,
    *,
    groups: int,
    axis: int = -1,
    positions: Axis = (),
    eps: float = 1e-5,
) -> tuple[Batch, Pieces]:
    """Normalise each example over each of `groups` groups of neighbouring features: `y` and the cache.

    `axis` is that of the features and `positions` are the axes averaged over as well: images as NCHW have
    `axis=1, positions=(2, 3)`. One group is layer norm; a group for each feature is instance norm.
    """
    (axis,) = axes(axis, x.ndim)
    size = _parts("groups", groups, x.shape[axis], "features")
    over = axes(positions, x.ndim) if positions != () else ()
    if axis in over:
        raise ValueError(f"positions must not hold the axis of the features, {axis}, got {positions}")
    averaged = (axis + 1, *(a + (a > axis) for a in over))
    return _normalised(x, gamma, beta, (*x.shape[:axis], groups, size, *x.shape[axis + 1 :]), averaged, eps)


def backward(dy: Batch, pieces: Pieces) -> tuple[Batch, PerFeature, PerFeature]:
    """The gradients of the loss in `x`, `gamma` and `beta`, given its gradient `dy` in `y`, for all of them."""
    cache, gamma = pieces
    xp = array_namespace(dy)
    x_hat = xp.reshape(cache.x_hat, dy.shape)
    dx, _, _ = batch_norm_backward(xp.reshape(dy * gamma, cache.x_hat.shape), cache)
    return xp.reshape(dx, dy.shape), _sum_to(xp, dy * x_hat, gamma.shape), _sum_to(xp, dy, gamma.shape)


def _normalised(x, gamma, beta, shape, averaged, eps) -> tuple[Batch, Pieces]:
    """Split `x` into `shape`, normalise over the axes `averaged`, join, scale and shift."""
    xp = array_namespace(x)
    _check_broadcasts(gamma, beta, x)
    ones = xp.ones(statistics_shape(shape, averaged), dtype=x.dtype, device=device(x))
    x_hat, _, cache = batch_norm_train(xp.reshape(x, shape), ones, 0 * ones, axis=averaged, eps=eps)
    return gamma * xp.reshape(x_hat, x.shape) + beta, Pieces(cache, gamma)


def _parts(name: str, value: int, n: int, what: str) -> int:
    if not isinstance(value, int) or value < 1 or n % value:
        raise ValueError(f"{name} must be a whole number that divides the {n} {what}, got {value!r}")
    return n // value


def _check_broadcasts(gamma: Any, beta: Any, x: Any) -> None:
    """`gamma` and `beta` must not make `x` longer, and must be alike."""
    shape, wanted = shape_of(gamma, "gamma"), shape_of(x)
    tail = wanted[len(wanted) - len(shape) :]
    if len(shape) > len(wanted) or any(n not in (1, m) for n, m in zip(shape, tail, strict=True)):
        raise ValueError(f"gamma must broadcast against x, whose shape is {wanted}, got {shape}")
    if shape_of(beta, "beta") != shape:
        raise ValueError(f"beta must have the shape of gamma, {shape}, got {shape_of(beta)}")


def _sum_to(xp: Any, a: Batch, shape: tuple[int, ...]) -> PerFeature:
    """Sum over every axis along which a parameter of `shape` was repeated."""
    lead = a.ndim - len(shape)
    repeated = tuple(i for i in range(a.ndim) if i < lead or shape[i - lead] == 1)
    return xp.reshape(xp.sum(a, axis=repeated, keepdims=True), shape)
